import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { areDigestsUnique } from '../../src/keyring/invariants.ts';
import { digestOf } from '../../src/keyring/key.ts';
import type { Client, Generation } from '../../src/keyring/keyring.ts';
import { createStory, staging } from './story.ts';

/** A client with a generation, and one that is staged. */
function createSample(): { client: Client; generation: Generation } {
  const story = createStory();
  story.add('ci');
  story.rotate('ci', 'c1');
  story.do(staging('ci', 'c2'));
  return { client: story.client('ci'), generation: story.generation('ci-1') };
}
const sample = createSample();

/** Few, so that most keyrings have one of them twice. */
const DIGESTS = Array.from({ length: 24 }, (_, at) => digestOf(`k${at}`));
/** Objects that stay the same from one keyring to the next, as those of a row do. */
const GENERATIONS = DIGESTS.map((digest): Generation => ({ ...sample.generation, digest }));

const clientOf = (row: readonly number[], staged: number | undefined): Client => ({
  ...sample.client,
  generations: row.flatMap((at) => GENERATIONS[at] ?? []),
  staged:
    staged === undefined || sample.client.staged === undefined
      ? undefined
      : { ...sample.client.staged, digest: DIGESTS[staged] ?? '' },
});

const naive = (clients: ReadonlyMap<string, Client>): boolean => {
  const all = [...clients.values()].flatMap(({ generations, staged }) => [
    ...generations.map(({ digest }) => digest),
    ...(staged === undefined ? [] : [staged.digest]),
  ]);
  return new Set(all).size === all.length;
};

const CHANGES = [
  'append',
  'append',
  'drop',
  'stage',
  'stage',
  'unstage',
  'copy',
  'remove',
] as const;

const changed = (
  { generations, staged }: Client,
  kind: (typeof CHANGES)[number],
  at: number,
): Partial<Client> | undefined => {
  switch (kind) {
    case 'append':
      return { generations: [...generations, ...clientOf([at], undefined).generations], staged };
    case 'drop':
      return { generations: generations.slice(0, -1) };
    case 'stage':
      return { staged: clientOf([], at).staged };
    case 'unstage':
      return { staged: undefined };
    case 'copy':
      return { generations: generations.map((each) => ({ ...each })) };
    case 'remove':
      return undefined;
  }
};

const change = fc.record({
  name: fc.constantFrom('a', 'b', 'c'),
  kind: fc.constantFrom(...CHANGES),
  at: fc.nat({ max: DIGESTS.length - 1 }),
});

describe('the digests of a keyring', () => {
  it('are unique where a look at all of them finds none twice, one keyring after the other', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
        let clients = new Map<string, Client>();
        for (const { name, kind, at } of changes) {
          const next = new Map(clients);
          const client = clients.get(name) ?? clientOf([], undefined);
          const fields = changed(client, kind, at);
          if (fields === undefined) next.delete(name);
          else next.set(name, { ...client, ...fields });
          const isUnique = naive(next);
          expect(areDigestsUnique(next)).toBe(isUnique);
          // As in earnest, a keyring that is none is not gone on with; but it was asked about.
          if (isUnique) clients = next;
        }
      }),
      { numRuns: 300 },
    );
  });
});
