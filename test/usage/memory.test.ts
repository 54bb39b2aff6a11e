import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { USAGE_FIELDS } from '../../src/store/usage-columns.ts';
import {
  createUsageDatabase,
  USAGE_GROUPS,
  type UsageGroup,
  type UsageRow,
} from '../../src/store/usage-database.ts';
import { createUsageMemory } from '../../src/usage/memory.ts';
import { eachInFolder } from '../support/folder.ts';
import { HOUR, usageRow } from './rows.ts';

const folder = eachInFolder('usage-memory');

const anyRow: fc.Arbitrary<UsageRow> = fc
  .record({
    hour: fc.constantFrom(HOUR, HOUR + 3600, HOUR + 86_400),
    client: fc.constantFrom('ci', 'web'),
    model: fc.constantFrom('gpt-4o', ''),
    key: fc.constantFrom('ci-1', 'ci-2'),
    active: fc.boolean(),
    requests: fc.nat(9),
    // Sums of these are the same in whatever order.
    costUsd: fc.nat(9).map((eighths) => eighths / 8),
  })
  .map(usageRow);

const inOrder = (groups: readonly UsageGroup[]): readonly string[] =>
  groups
    .map(({ name, active, ...counts }) =>
      JSON.stringify([name, active, USAGE_FIELDS.map((field) => counts[field])]),
    )
    .sort();

describe('usage in memory', () => {
  it('answers as the file would', async () => {
    const batch = fc.uniqueArray(anyRow, {
      selector: ({ hour, client, model, key, active }) => [hour, client, model, key, active].join(),
    });
    let nth = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(batch, { maxLength: 4 }),
        fc.constantFrom(...USAGE_GROUPS),
        fc.record({ client: fc.option(fc.constant('ci'), { nil: undefined }) }),
        async (batches, by, rest) => {
          const file = createUsageDatabase({ path: join(folder(), `${++nth}.db`) });
          const { ask } = createUsageMemory();
          for (const [at, rows] of batches.entries()) {
            const write = { id: `${at}`, at: HOUR, rows };
            file.write(write);
            await ask('write', write);
            // The same batch again counts once.
            await ask('write', write);
          }
          expect(await ask('prune', HOUR + 3600)).toBe(file.prune(HOUR + 3600));
          const query = { by, from: HOUR, ...rest };
          const [here, there] = [await ask('read', query), file.read(query)];
          file.close();
          expect(inOrder(here.groups)).toEqual(inOrder(there.groups));
          expect(here.lastWrite).toEqual(there.lastWrite);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('forgets the oldest hours where there are too many rows', async () => {
    const { ask } = createUsageMemory();
    const rows = Array.from({ length: 20_001 }, (_, nth) => usageRow({ hour: HOUR + 3600 * nth }));
    await ask('write', { id: 'all', at: HOUR, rows });
    const { groups } = await ask('read', { by: 'hour', from: 0 });
    expect(groups).toHaveLength(20_000);
    expect(groups[0]?.name).toBe(HOUR + 3600);
  });
});
