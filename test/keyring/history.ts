import {
  type Client,
  type Generation,
  idOf,
  isValid,
  type Keyring,
} from '../../src/keyring/keyring.ts';

type Rule = readonly [broken: string, holds: (before: Generation, after: Generation) => boolean];

const RULES: readonly Rule[] = [
  ['is another key than before', (before, after) => before.digest === after.digest],
  [
    'has another past than before',
    (before, after) =>
      before.createdAt === after.createdAt &&
      before.origin === after.origin &&
      before.afterCompromise === after.afterCompromise,
  ],
  ['had ended and is changed', (before, after) => isValid(before) || isSame(before, after)],
  [
    'was published, and now it was not, or at another time',
    ({ publishedAt }, after) => publishedAt === undefined || publishedAt === after.publishedAt,
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
  for (const client of before.clients.values()) {
    const broken = clientBroken(client, after.clients.get(client.name));
    if (broken !== undefined) return broken;
  }
  return undefined;
}

function clientBroken(before: Client, after: Client | undefined): string | undefined {
  if (before === after) return undefined;
  for (const [at, generation] of before.generations.entries()) {
    const id = idOf(before.name, generation.number);
    const now = after?.generations[at];
    // Compared by place and number, so that one that is removed or inserted shows.
    if (now?.number !== generation.number) return `${id} is gone`;
    const rule = RULES.find(([, holds]) => !holds(generation, now));
    if (rule !== undefined) return `${id} ${rule[0]}`;
  }
  // A generation that was not stored as staged could be lost by a crash after its key was read.
  const made = after?.generations[before.generations.length];
  if (made !== undefined && made.digest !== before.staged?.digest) {
    return `${idOf(before.name, made.number)} was never staged`;
  }
  return undefined;
}

const isSame = (before: Generation, after: Generation): boolean =>
  before === after || JSON.stringify(before) === JSON.stringify(after);
