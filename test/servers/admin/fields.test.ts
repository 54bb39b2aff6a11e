import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LIMIT_MODES, LIMITED } from '../../../src/keyring/client-limits.ts';
import { FIELDS, readFields } from '../../../src/servers/admin/fields.ts';

type Changes = ReturnType<typeof FIELDS.clientChanges.parse>;

const odd = fc.oneof(
  fc.jsonValue(),
  fc.double(),
  fc.constantFrom('5$', '0', '-1', 'NaN', '1e9', ' 60 ', 0.5, 0),
);
/** Mostly what may stand there. */
const mostly = <T>(good: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 9, arbitrary: good }, { weight: 1, arbitrary: odd });

const amount = mostly(fc.constantFrom('2M', '1.5k', 60, null));
const limits = fc.record(
  {
    ...Object.fromEntries(LIMITED.map((name) => [name, amount])),
    mode: mostly(fc.constantFrom(...LIMIT_MODES)),
  },
  { requiredKeys: [] },
);
const bodies = fc.record(
  {
    limits: mostly(fc.oneof(limits, limits, fc.constant(null))),
    models: mostly(fc.oneof(fc.array(fc.constantFrom('mock', 'gpt-4o*')), fc.constant(null))),
    expires: mostly(fc.constantFrom('90d', '1h', null)),
    allowFrom: mostly(fc.constantFrom(['10.0.0.0/8', '::1'], [], null)),
    namesEndUsers: mostly(fc.boolean()),
  },
  { requiredKeys: [] },
);

it('whatever stands in a change of a client is read whole, or is a mistake', () => {
  let good = 0;
  fc.assert(
    fc.property(bodies, (body) => {
      const mistakes: string[] = [];
      const sent = JSON.parse(JSON.stringify(body)) as object;
      const read = readFields(FIELDS.clientChanges, sent, mistakes) as Changes | undefined;
      expect(read === undefined).toBe(mistakes.length > 0);
      if (read === undefined) return;
      good += 1;
      // What is not there stays, and what is null is taken off: both must be told apart.
      expect(Object.keys(read).sort()).toEqual(Object.keys(sent).sort());
      const { mode, ...amounts } = read.limits ?? {};
      for (const amount of Object.values(amounts)) {
        expect(amount === undefined || (Number.isFinite(amount) && amount > 0)).toBe(true);
      }
      expect(mode === undefined || LIMIT_MODES.includes(mode)).toBe(true);
      expect(read.models?.every((name) => name !== '') ?? true).toBe(true);
    }),
    { numRuns: 500 },
  );
  expect(good).toBeGreaterThan(50);
});
