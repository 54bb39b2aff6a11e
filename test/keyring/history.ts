import { isDeepStrictEqual } from 'node:util';
import {
  findGeneration,
  type Generation,
  idOf,
  type Keyring,
  type Tombstone,
} from '../../src/keyring/keyring.ts';

type Either = Generation | Tombstone;
type Rule<Before, After> = readonly [
  broken: string,
  holds: (before: Before, after: After) => boolean,
];

const RULES: readonly Rule<Either, Either>[] = [
  ['is another key than before', (before, after) => before.digest === after.digest],
  ['had ended and is changed', (before, after) => !('endedAt' in before) || isSame(before, after)],
  [
    'has another past than before',
    (before, after) => before.createdAt === after.createdAt && before.origin === after.origin,
  ],
  [
    'was published, and now it was not, or at another time',
    ({ publishedAt }, after) => publishedAt === undefined || publishedAt === after.publishedAt,
  ],
];

const VALID_RULES: readonly Rule<Generation, Generation>[] = [
  [
    'has another past than before',
    (before, after) => before.afterCompromise === after.afterCompromise,
  ],
  [
    'retires by another promise than before',
    ({ state, retirement }, after) => {
      // A rollback makes the generation active again, without any retirement.
      if (state !== 'retiring' || after.state === 'active') return true;
      const { rotatedAt, graceMs, latestEnd } = after.retirement ?? {};
      return (
        retirement?.rotatedAt === rotatedAt &&
        retirement?.graceMs === graceMs &&
        retirement?.latestEnd === latestEnd
      );
    },
  ],
  [
    'had a deadline, which moved',
    ({ state, retirement }, after) =>
      state !== 'retiring' ||
      after.state === 'active' ||
      retirement?.deadline === undefined ||
      retirement.deadline === after.retirement?.deadline,
  ],
];

/**
 * The first rule that a command broke, given the keyrings before and after it; undefined: none.
 * No keyring alone shows this: `checkInvariants` says what holds of one.
 */
export function checkHistory(before: Keyring, after: Keyring): string | undefined {
  if (after.changedAt < before.changedAt) return 'the time went back';
  if (after.audit.count < before.audit.count) return 'the audit became shorter';
  const ended = [...before.tombstones.values()].map((each) => [each.client, each] as const);
  const valid = [...before.clients.values()].flatMap(({ name, generations }) =>
    generations.map((each) => [name, each] as const),
  );
  for (const [name, generation] of [...ended, ...valid]) {
    const broken = generationBroken(name, generation, after);
    if (broken !== undefined) return broken;
  }
  const kept = [...before.tombstones.keys()];
  const first = [...after.tombstones.keys()].slice(0, kept.length);
  if (kept.join() !== first.join()) return 'the tombstones of before are not the first ones';
  return madeFromNothing(before, after);
}

function generationBroken(name: string, before: Either, keyring: Keyring): string | undefined {
  const id = idOf(name, before.number);
  const after = findGeneration(keyring, name, before.number);
  if (after === undefined) return `${id} is gone`;
  const broken = RULES.find(([, holds]) => !holds(before, after));
  if (broken !== undefined) return `${id} ${broken[0]}`;
  if ('endedAt' in before) return undefined;
  if ('endedAt' in after) {
    const started = before.retirement?.deadline !== undefined;
    return started && !after.clockStarted ? `${id} had a deadline, which was forgotten` : undefined;
  }
  const rule = VALID_RULES.find(([, holds]) => !holds(before, after));
  return rule && `${id} ${rule[0]}`;
}

/**
 * A generation that was not stored as staged could be lost by a crash after its key was read; those
 * of a file are read anew by each start.
 */
function madeFromNothing(before: Keyring, after: Keyring): string | undefined {
  const valid = [...after.clients.values()].flatMap(({ name, generations }) =>
    generations.map((each): readonly [string, Either] => [name, each]),
  );
  const ended = [...after.tombstones.values()].map((each) => [each.client, each] as const);
  for (const [name, { number, digest }] of [...valid, ...ended]) {
    const client = before.clients.get(name);
    if (number <= (client?.lastNumber ?? 0)) continue;
    if (after.clients.get(name)?.inFile === true) continue;
    if (client?.staged?.digest !== digest) return `${idOf(name, number)} was never staged`;
  }
  return undefined;
}

const isSame = (before: Either, after: Either): boolean =>
  before === after || isDeepStrictEqual(before, after);
