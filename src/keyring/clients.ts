import { isClientName, MASTER } from '../client-name.ts';
import {
  type Command,
  changed,
  endGeneration,
  generationOf,
  type KeyringEvent,
  type Refused,
  refuse,
  type Transition,
  unchanged,
  underWay,
  unknownClient,
  unknownGeneration,
  withClient,
} from './command.ts';
import {
  activeOf,
  type Client,
  type Generation,
  idOf,
  isValid,
  type Keyring,
  readId,
  replacedIn,
  SCOPES,
  validIn,
} from './keyring.ts';

type AddClient = Extract<Command, { kind: 'addClient' }>;

/** Adds a client. Where one of that name was removed, its tombstones stay and its numbers go on. */
export function addClient(keyring: Keyring, command: AddClient, now: number): Transition {
  const fault = addingFault(keyring, command, now);
  if (fault !== undefined) return fault;
  const { client: name, allowFrom, expiresAt } = command;
  const client: Client = {
    name,
    scopes: SCOPES.filter((scope) => command.scopes.includes(scope)),
    allowFrom,
    createdAt: now,
    expiresAt,
    disabled: true,
    removed: false,
    generations: keyring.clients.get(name)?.generations ?? [],
    staged: undefined,
    idempotency: undefined,
  };
  return changed(keyring, client, [{ kind: 'clientAdded', client: name }]);
}

function addingFault(keyring: Keyring, command: AddClient, now: number): Refused | undefined {
  const { client, scopes, expiresAt } = command;
  if (!isClientName(client)) {
    return refuse(
      'bad_client_name',
      'a client name has 1 to 39 lower-case letters, digits and hyphens, begins with a letter ' +
        'and does not end with a hyphen',
      'such as staging or ci-2; `sk-` at its beginning is for keys',
    );
  }
  const there = keyring.clients.get(client);
  if (there !== undefined && !there.removed) {
    const hint = `\`sidecar rotate ${client}\` gives it a new key`;
    return refuse('client_exists', `there is a client ${client} already`, hint);
  }
  if (scopes.length === 0 || !scopes.every((scope) => SCOPES.includes(scope))) {
    return refuse('bad_scopes', `a client has one or more of the scopes ${SCOPES.join(', ')}`);
  }
  if (expiresAt !== undefined && !(Number.isFinite(expiresAt) && expiresAt > now)) {
    return refuse('bad_expiry', 'a client can expire only in the future', 'such as 90d from now');
  }
  if (client !== MASTER) return undefined;
  if (!scopes.includes('full')) {
    return refuse('bad_scopes', `${MASTER} has the scope full, and cannot do with less`);
  }
  return expiresAt === undefined ? undefined : refuse('bad_expiry', `${MASTER} does not expire`);
}

/** Whether a client has had no key since it was added, or was added again. */
export const isNewcomer = ({ generations, createdAt }: Client): boolean =>
  generations.every((generation) => generation.createdAt < createdAt);

export const disable = (keyring: Keyring, name: string): Transition =>
  withClient(keyring, name, (client) => {
    if (client.disabled) return refuse('client_disabled', `client ${name} is disabled already`);
    // The end of the rotation would enable the client again.
    if (client.staged !== undefined) return underWay(client);
    const events: KeyringEvent[] = [{ kind: 'clientDisabled', client: name }];
    return changed(keyring, { ...client, disabled: true }, events);
  });

export const enable = (keyring: Keyring, name: string): Transition =>
  withClient(keyring, name, (client) => {
    if (!client.disabled) return refuse('client_enabled', `client ${name} is enabled already`);
    if (activeOf(client) === undefined) {
      const hint = `\`sidecar rotate ${name}\` makes one and enables it`;
      return refuse('no_active_key', `client ${name} has no active key`, hint);
    }
    const events: KeyringEvent[] = [{ kind: 'clientEnabled', client: name }];
    return changed(keyring, { ...client, disabled: false }, events);
  });

export const remove = (keyring: Keyring, name: string, now: number): Transition =>
  withClient(keyring, name, (client) => {
    if (name === MASTER) {
      const hint = `\`sidecar clients disable ${MASTER}\` refuses all of its keys`;
      return refuse('master_stays', `${MASTER} cannot be removed`, hint);
    }
    const ids: number[] = [];
    const revoke = (generation: Generation): Generation => {
      if (!isValid(generation)) return generation;
      ids.push(generation.number);
      return endGeneration(generation, 'revoked', now);
    };
    const staged = client.staged ? [generationOf(client.staged, undefined)] : [];
    const generations = [...client.generations, ...staged].map(revoke);
    const events: KeyringEvent[] = ids.map((number) => {
      return { kind: 'revoked', client: name, generation: idOf(name, number), compromised: false };
    });
    events.push({ kind: 'clientRemoved', client: name });
    if (generations.length === 0) return forgotten(keyring, name, events);
    const gone = { disabled: true, removed: true, staged: undefined, idempotency: undefined };
    return changed(keyring, { ...client, ...gone, generations }, events);
  });

/** The keyring without a client that never had a key, of which no tombstone must stay. */
export function forgotten(
  keyring: Keyring,
  name: string,
  events: readonly KeyringEvent[],
): Transition {
  const clients = new Map(keyring.clients);
  clients.delete(name);
  return { ok: true, keyring: { ...keyring, clients }, events };
}

type Numbered = Extract<Command, { kind: 'published' | 'firstUse' }>;
type Revoke = Extract<Command, { kind: 'revoke' }>;

/** Ends one generation; a client whose active generation ends is disabled. */
export function revoke(keyring: Keyring, command: Revoke, now: number): Transition {
  const { generation: id, compromised } = command;
  const parsed = readId(id);
  const client = parsed && keyring.clients.get(parsed.client);
  if (client === undefined) return unknownGeneration(keyring, id);
  const { name, staged } = client;
  if (staged?.number === parsed?.number) return underWay(client);
  const generation = client.generations.find(({ number }) => number === parsed?.number);
  if (generation === undefined) return unknownGeneration(keyring, id);
  if (!isValid(generation)) {
    return refuse('already_ended', `${id} was ${generation.state} before, and opens nothing`);
  }
  const events: KeyringEvent[] = [{ kind: 'revoked', client: name, generation: id, compromised }];
  const disabled = client.disabled || generation.state === 'active';
  if (disabled !== client.disabled) events.push({ kind: 'clientDisabled', client: name });
  const next = replaced(client, [[generation, endGeneration(generation, 'revoked', now)]]);
  return changed(keyring, { ...next, disabled }, events);
}

/** Notes that every publish target has the key, so that older ones may retire. */
export const published = (keyring: Keyring, command: Numbered, now: number): Transition =>
  withNumber(keyring, command, (client, generation) => {
    if (!isValid(generation) || generation.publishedAt !== undefined) return unchanged(keyring);
    const next = replaced(client, [[generation, { ...generation, publishedAt: now }]]);
    const { name } = client;
    const id = idOf(name, generation.number);
    return changed(keyring, next, [{ kind: 'published', client: name, generation: id }]);
  });

/** Starts the clocks of all older generations that wait for a newer key to be used. */
export const firstUse = (keyring: Keyring, command: Numbered, now: number): Transition =>
  withNumber(keyring, command, (client, used) => {
    // Whoever reads a target that lacks the newest key still needs the old one.
    if (!isValid(used) || activeOf(client)?.publishedAt === undefined) return unchanged(keyring);
    const events: KeyringEvent[] = [];
    const pairs = validIn(client.generations).flatMap((generation): [Generation, Generation][] => {
      const { number, state, retirement } = generation;
      if (state !== 'retiring' || number >= used.number) return [];
      if (retirement === undefined || retirement.deadline !== undefined) return [];
      const deadline = Math.min(retirement.latestEnd, now + retirement.graceMs);
      const { name } = client;
      const [id, by] = [idOf(name, number), idOf(name, used.number)];
      events.push({ kind: 'clockStarted', client: name, generation: id, by, deadline });
      return [[generation, { ...generation, retirement: { ...retirement, deadline } }]];
    });
    return pairs.length === 0
      ? unchanged(keyring)
      : changed(keyring, replaced(client, pairs), events);
  });

/** Calls `next` with a generation, of a removed client too; of a staged one it notes nothing. */
function withNumber(
  keyring: Keyring,
  { client: name, number }: Numbered,
  next: (client: Client, generation: Generation) => Transition,
): Transition {
  const client = keyring.clients.get(name);
  if (client === undefined) return unknownClient(keyring, name);
  if (client.staged?.number === number) return unchanged(keyring);
  const generation = client.generations.findLast((each) => each.number === number);
  if (generation === undefined) return unknownGeneration(keyring, idOf(name, number));
  return next(client, generation);
}

const replaced = (
  client: Client,
  pairs: readonly (readonly [Generation, Generation])[],
): Client => ({ ...client, generations: replacedIn(client.generations, pairs) });
