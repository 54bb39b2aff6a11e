import { showDuration } from '../config/units.ts';
import { forgotten, isNewcomer } from './clients.ts';
import {
  type Command,
  changed,
  generationOf,
  type KeyringEvent,
  type Refused,
  refuse,
  type Transition,
  tombstoneOf,
  underWay,
  withClient,
} from './command.ts';
import {
  activeOf,
  type Client,
  endOf,
  type Generation,
  idOf,
  type Keyring,
  MOST_VALID,
  type Staged,
} from './keyring.ts';

type Stage = Extract<Command, { kind: 'stage' }>;

/** The last instant that has a date (ECMA-262, §21.4.1.1). */
const LAST_DATE = 8.64e15;

/** Begins a rotation: notes the new key; those before it stay as they are. */
export const stage = (keyring: Keyring, command: Stage, now: number): Transition =>
  withClient(keyring, command.client, (client) => {
    const fault =
      stateFault(client, now) ??
      graceFault(command) ??
      digestFault(keyring, command) ??
      // After a compromise all valid keys are revoked, so their number does not matter.
      (command.compromised ? undefined : countFault(client));
    if (fault !== undefined) return fault;
    const { digest, origin, graceMs, maxGraceMs, compromised, source, idempotency } = command;
    const staged = {
      number: client.lastNumber + 1,
      ...{ digest, origin, stagedAt: now, graceMs, maxGraceMs, compromised, source, idempotency },
    };
    return changed(keyring, { ...client, staged });
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
  const [oldest] = generations;
  if (generations.length < MOST_VALID || oldest === undefined) return undefined;
  const id = idOf(name, oldest.number);
  const end = endOf(oldest);
  return refuse(
    'too_many_generations',
    `${name} has ${generations.length} valid keys, and may have no more`,
    `\`sidecar revoke ${id}\` revokes the oldest; \`sidecar who ${id}\` says who uses it`,
    ...(end === undefined ? [] : [`or wait: ${id} ends at ${showDate(end)} at the latest`]),
  );
}

/** Refuses a key that stands in the keyring already: a key that has ended never comes back. */
function digestFault(keyring: Keyring, { client: name, digest }: Stage): Refused | undefined {
  const ended = keyring.tombstones.get(digest);
  if (ended !== undefined) {
    const id = idOf(ended.client, ended.number);
    return refuse(
      'key_is_tombstone',
      `that key is ${id}, which was ${ended.state}: it is never accepted again`,
      'take a new one; `sidecar key new` makes it',
    );
  }
  for (const client of keyring.clients.values()) {
    const known = client.generations.find((generation) => generation.digest === digest);
    if (known === undefined && client.staged?.digest !== digest) continue;
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

const showDate = (at: number): string => new Date(Math.min(at, LAST_DATE)).toISOString();

type Commit = Extract<Command, { kind: 'commit' }>;

/** Makes the staged generation active; the active one retires, or all valid ones are revoked. */
export const commit = (keyring: Keyring, command: Commit, now: number): Transition =>
  withClient(keyring, command.client, (client) => {
    const { name, staged } = client;
    if (staged === undefined) return nothingStaged(client);
    const { number, digest, origin, source, graceMs, compromised, idempotency } = staged;
    const made = generationOf(staged, command.published ? now : undefined);
    const older = compromised ? [] : client.generations.map((each) => retiring(each, staged, now));
    const revoked = compromised ? client.generations : [];
    const ended = revoked.map((each) => tombstoneOf(name, each, 'revoked', now));
    const next: Client = {
      ...client,
      // What somebody shut stays shut: a new key is no reason to let anybody in.
      disabled: client.disabledByHand,
      lastNumber: number,
      generations: [...older, made],
      staged: undefined,
      idempotency: idempotency && { ...idempotency, number },
    };
    const declared =
      source === undefined ? keyring.declared : { ...keyring.declared, [source]: digest };
    const active = activeOf(client);
    const [from, to] = [active && idOf(name, active.number), idOf(name, number)];
    const events: KeyringEvent[] = [
      { kind: 'rotated', client: name, from, to, origin, graceMs, compromised },
      ...ended.map((each): KeyringEvent => {
        return { kind: 'revoked', client: name, generation: idOf(name, each.number), compromised };
      }),
    ];
    if (client.disabled && !next.disabled && !isNewcomer(keyring, client)) {
      events.push({ kind: 'clientEnabled', client: name });
    }
    return changed({ ...keyring, declared }, next, events, ended);
  });

function retiring(generation: Generation, staged: Staged, now: number): Generation {
  // A generation that retires already keeps the grace that was promised for it.
  if (generation.state === 'retiring') return generation;
  const { graceMs, maxGraceMs } = staged;
  const latestEnd = now + maxGraceMs;
  const retirement = { rotatedAt: now, graceMs, latestEnd, deadline: undefined };
  return { ...generation, state: 'retiring', retirement };
}

/** Drops the staged generation; a client that was added for it is removed again. */
export const unstage = (keyring: Keyring, name: string): Transition =>
  withClient(keyring, name, (client) => {
    if (client.staged === undefined) return nothingStaged(client);
    const next: Client = { ...client, staged: undefined };
    if (!isNewcomer(keyring, client)) return changed(keyring, next);
    const events: KeyringEvent[] = [{ kind: 'clientRemoved', client: name }];
    if (client.lastNumber === 0) return forgotten(keyring, name, events);
    return changed(keyring, { ...next, removed: true }, events);
  });

const nothingStaged = ({ name }: Client): Refused =>
  refuse('nothing_staged', `no rotation of ${name} is under way`);

type Rollback = Extract<Command, { kind: 'rollback' }>;

/** Makes the newest retiring generation active again, and revokes the one that replaced it. */
export const rollback = (keyring: Keyring, command: Rollback, now: number): Transition =>
  withClient(keyring, command.client, (client) => {
    const { name } = client;
    if (client.staged !== undefined) return underWay(client);
    const active = activeOf(client);
    if (client.disabled || active === undefined) return disabledFault(client, active);
    const from = idOf(name, active.number);
    if (command.from !== undefined && command.from !== from) return anotherActive(name, from);
    const fresh = `\`sidecar rotate ${name}\` makes a new key`;
    if (active.afterCompromise) {
      const message = `the keys before ${from} were revoked as compromised`;
      return refuse('no_rollback_after_compromise', message, fresh);
    }
    const newest = client.generations.findLast(({ state }) => state === 'retiring');
    if (newest === undefined) {
      return refuse('nothing_to_roll_back', `no key before ${from} is still valid`, fresh);
    }
    const to = idOf(name, newest.number);
    const older = client.generations.filter((each) => each !== active && each !== newest);
    const again: Generation = { ...newest, state: 'active', retirement: undefined };
    const events: KeyringEvent[] = [
      { kind: 'rolledBack', client: name, from, to },
      { kind: 'revoked', client: name, generation: from, compromised: false },
    ];
    const ended = [tombstoneOf(name, active, 'revoked', now)];
    return changed(keyring, { ...client, generations: [...older, again] }, events, ended);
  });

/** Whoever asked twice, or after somebody else, would go back one key too far. */
const anotherActive = (name: string, active: string): Refused =>
  refuse(
    'not_the_active_key',
    `the active key of ${name} is ${active} by now: nothing was rolled back`,
    `look at \`sidecar status\`, and roll ${active} back if that is what you want`,
  );

function disabledFault(client: Client, active: Generation | undefined): Refused {
  const { name, disabledByHand } = client;
  const more = disabledByHand ? '' : ' and enables it';
  const fresh = `\`sidecar rotate ${name}\` makes a new key${more}`;
  const enable = `\`sidecar clients enable ${name}\` first`;
  const hint = active === undefined ? fresh : enable;
  return refuse('client_disabled', `client ${name} is disabled`, hint);
}
