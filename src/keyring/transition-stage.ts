import { showDuration } from '../config/units.ts';
import type { Command } from './command.ts';
import {
  type Client,
  endOf,
  type Generation,
  idOf,
  isValid,
  type Keyring,
  MOST_VALID,
  type Staged,
} from './keyring.ts';
import {
  changed,
  type Refused,
  refuse,
  type Transition,
  underWay,
  withClient,
} from './transition-outcome.ts';
import { validIn } from './valid.ts';

type Stage = Extract<Command, { kind: 'stage' }>;

/** ECMA-262: the last instant that has a date. */
const LAST_DATE = 8.64e15;

/** A rotation begins; no key is valid or invalid by it. */
export const stage = (keyring: Keyring, command: Stage, now: number): Transition =>
  withClient(keyring, command.client, (client) => {
    const fault =
      stateFault(client, now) ??
      graceFault(command) ??
      digestFault(keyring, command) ??
      // A compromise lets go of all of them.
      (command.compromised ? undefined : countFault(client));
    if (fault !== undefined) return fault;
    const { digest, origin, graceMs, maxGraceMs, compromised, source, idempotency } = command;
    const staged = {
      number: (client.generations.at(-1)?.number ?? 0) + 1,
      ...{ digest, origin, stagedAt: now, graceMs, maxGraceMs, compromised, source, idempotency },
    };
    return changed(keyring, { ...client, staged });
  });

/** What a staged generation becomes. */
export const generationOf = (staged: Staged, publishedAt: number | undefined): Generation => ({
  number: staged.number,
  digest: staged.digest,
  state: 'active',
  origin: staged.origin,
  createdAt: staged.stagedAt,
  publishedAt,
  afterCompromise: staged.compromised,
  retirement: undefined,
  endedAt: undefined,
});

function stateFault(client: Client, now: number): Refused | undefined {
  const { name, expiresAt, staged } = client;
  if (staged !== undefined) return underWay(client);
  if (expiresAt === undefined || expiresAt > now) return undefined;
  return refuse(
    'bad_expiry',
    `client ${name} expired at ${showDate(expiresAt)}: a new key would be refused, too`,
    `\`sidecar clients remove ${name}\`, then add it again with a new end`,
  );
}

function graceFault({ graceMs, maxGraceMs }: Stage): Refused | undefined {
  const longest = showDuration(maxGraceMs);
  const whole = Number.isSafeInteger(graceMs) && Number.isSafeInteger(maxGraceMs);
  if (whole && graceMs >= 0 && graceMs <= maxGraceMs) return undefined;
  return refuse(
    'bad_grace',
    `a grace of ${showDuration(graceMs)} is out of range: it may be 0 to ${longest}`,
    'SIDECAR_MAX_GRACE sets the longest',
  );
}

function countFault({ name, generations }: Client): Refused | undefined {
  const valid = validIn(generations);
  const [oldest] = valid;
  if (valid.length < MOST_VALID || oldest === undefined) return undefined;
  const id = idOf(name, oldest.number);
  const end = endOf(oldest);
  return refuse(
    'too_many_generations',
    `${name} has ${valid.length} valid keys, and may have no more`,
    `\`sidecar revoke ${id}\` lets go of the oldest; \`sidecar who ${id}\` says who uses it`,
    ...(end === undefined ? [] : [`or wait: ${id} ends at ${showDate(end)} at the latest`]),
  );
}

/** A digest stands once in the whole keyring, and what has ended never comes back. */
function digestFault({ clients }: Keyring, { client: name, digest }: Stage): Refused | undefined {
  for (const client of clients.values()) {
    const known = client.generations.find((generation) => generation.digest === digest);
    if (known === undefined && client.staged?.digest !== digest) continue;
    if (known !== undefined && !isValid(known)) return tombstoneFault(client, known);
    if (client.name !== name || known === undefined) {
      const hint = `\`sidecar rotate ${name}\` makes a key of its own`;
      return refuse('key_of_another_client', `that key is one of client ${client.name}`, hint);
    }
    const id = idOf(name, known.number);
    if (known.state === 'active') {
      return refuse('key_is_active', `that key is ${id}, the active one of ${name} already`);
    }
    return refuse(
      'key_is_retiring',
      `that key is ${id}, which retires`,
      `\`sidecar rollback ${name}\` makes its newest retiring key active again`,
    );
  }
  return undefined;
}

const tombstoneFault = (client: Client, { number, state }: Generation): Refused =>
  refuse(
    'key_is_tombstone',
    `that key is ${idOf(client.name, number)}, which was ${state}: it is never accepted again`,
    'take a new one; `sidecar key new` makes it',
  );

const showDate = (at: number): string => new Date(Math.min(at, LAST_DATE)).toISOString();
