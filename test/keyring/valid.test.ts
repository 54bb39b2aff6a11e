import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MASTER } from '../../src/client-name.ts';
import {
  activeOf,
  type Generation,
  isValid,
  MOST_VALID,
  replacedIn,
  validIn,
} from '../../src/keyring/keyring.ts';
import { createMaster, DAY, type Story } from './story.ts';

/** What can happen to a row, where it can. */
const CHANGES: Record<string, (story: Story, at: number) => void> = {
  rotate(story, at) {
    const { generations } = story.client(MASTER);
    if (generations.filter(isValid).length < MOST_VALID) story.rotate(MASTER, `k${at}`);
  },
  handOver(story) {
    const number = story.client(MASTER).generations.at(-1)?.number ?? 0;
    story.do({ kind: 'firstUse', client: MASTER, number });
  },
  revoke(story) {
    const oldest = story.client(MASTER).generations.find(({ state }) => state === 'retiring');
    if (oldest === undefined) return;
    story.do({ kind: 'revoke', generation: `master-${oldest.number}`, compromised: false });
  },
  rollback(story) {
    if (!story.states(MASTER).includes('retiring')) return;
    story.do({ kind: 'rollback', client: MASTER });
  },
  day(story) {
    story.now += DAY + 1;
    story.do({ kind: 'pass' });
  },
};

describe('the valid generations of a row', () => {
  it('are those that a look at each of them finds, however the row came to be', () => {
    const change = fc.constantFrom(...Object.values(CHANGES));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const story = createMaster();
        for (const [at, change] of changes.entries()) {
          change(story, at);
          const client = story.client(MASTER);
          expect(validIn(client.generations)).toEqual(client.generations.filter(isValid));
          expect(activeOf(client)).toBe(client.generations.find(({ state }) => state === 'active'));
        }
      }),
    );
  });

  it('are none in an empty row', () => {
    expect(validIn([])).toEqual([]);
  });
});

describe('a row with others in the place of some', () => {
  it('has them where those were, and is another row', () => {
    const story = createMaster();
    story.rotate(MASTER, 'm2');
    story.rotate(MASTER, 'm3');
    const row = story.client(MASTER).generations;
    const [first, second, third] = row as [Generation, Generation, Generation];
    const other = { ...second };
    const next = replacedIn(row, [[second, other]]);
    expect(next).toHaveLength(3);
    expect(next.map((each, at) => [each === row[at], each === other])).toEqual([
      [true, false],
      [false, true],
      [true, false],
    ]);
    expect(row).toEqual([first, second, third]);
    expect(row[1]).toBe(second);
  });
});
