import { isClientName, MASTER } from '../client-name.ts';
import { changedLimits, limitsNothing, sameLimits } from './client-limits.ts';
import {
  type Command,
  changed,
  generationOf,
  inFile,
  type KeyringEvent,
  type Refused,
  refuse,
  type Transition,
  tombstoneOf,
  unchanged,
  underWay,
  unknownClient,
  unknownGeneration,
  withClient,
} from './command.ts';
import {
  activeOf,
  type Client,
  findGeneration,
  type Generation,
  idOf,
  type Keyring,
  readId,
  SCOPES,
} from './keyring.ts';

type AddClient = Extract<Command, { kind: 'addClient' }>;

/** Adds a client. Where one of that name was removed, its tombstones stay and its numbers go on. */
export function addClient(keyring: Keyring, command: AddClient, now: number): Transition {
  const fault = addingFault(keyring, command, now);
  if (fault !== undefined) return fault;
  const { client: name, allowFrom, expiresAt, namesEndUsers, limits, models } = command;
  const client: Client = {
    name,
    scopes: SCOPES.filter((scope) => command.scopes.includes(scope)),
    allowFrom,
    createdAt: now,
    expiresAt,
    namesEndUsers,
    limits,
    models,
    inFile: false,
    disabled: true,
    disabledByHand: false,
    removed: false,
    lastNumber: keyring.clients.get(name)?.lastNumber ?? 0,
    generations: [],
    staged: undefined,
    idempotency: undefined,
  };
  return changed(keyring, client, [{ kind: 'clientAdded', client: name }]);
}

function addingFault(keyring: Keyring, command: AddClient, now: number): Refused | undefined {
  const { client, scopes } = command;
  if (!isClientName(client)) {
    return refuse(
      'bad_client_name',
      'a client name has 1 to 39 lower-case letters, digits and hyphens, begins with a letter ' +
        'and does not end with a hyphen',
      'such as staging or ci-2; `sk-` at its beginning is for keys',
    );
  }
  const there = keyring.clients.get(client);
  if (there?.inFile === true) return inFile(there);
  if (there !== undefined && !there.removed) {
    const hint = `\`sidecar rotate ${client}\` gives it a new key`;
    return refuse('client_exists', `there is a client ${client} already`, hint);
  }
  if (scopes.length === 0 || !scopes.every((scope) => SCOPES.includes(scope))) {
    return refuse('bad_scopes', `a client has one or more of the scopes ${SCOPES.join(', ')}`);
  }
  if (client === MASTER && !scopes.includes('full')) {
    return refuse('bad_scopes', `${MASTER} has the scope full, and cannot do with less`);
  }
  return endFault(client, command.expiresAt, now) ?? limitsFault(command.limits);
}

/** What is wrong with a new end of a client. */
function endFault(name: string, expiresAt: number | undefined, now: number): Refused | undefined {
  if (expiresAt === undefined) return undefined;
  if (!(Number.isFinite(expiresAt) && expiresAt > now)) {
    return refuse('bad_expiry', 'a client can expire only in the future', 'such as 90d from now');
  }
  return name === MASTER ? refuse('bad_expiry', `${MASTER} does not expire`) : undefined;
}

/** What is wrong with new limits. */
function limitsFault(limits: Client['limits']): Refused | undefined {
  if (limits === undefined || !limitsNothing(limits)) return undefined;
  const hint = 'say a limit with it, such as 60 requests a minute';
  return refuse('bad_limits', `nothing is limited, so there is nothing to ${limits.mode}`, hint);
}

type SetClient = Extract<Command, { kind: 'setClient' }>;

/** Changes what a client may do; its scopes stay, and so do its keys. */
export const setClient = (keyring: Keyring, command: SetClient, now: number): Transition =>
  withClient(keyring, command.client, (client) => {
    const { changes } = command;
    const fault = endFault(client.name, changes.expiresAt, now);
    if (fault !== undefined) return fault;
    const { allowFrom = client.allowFrom, models = client.models } = changes;
    const { namesEndUsers = client.namesEndUsers } = changes;
    const expiresAt = 'expiresAt' in changes ? changes.expiresAt : client.expiresAt;
    const limits =
      'limits' in changes ? changedLimits(client.limits, changes.limits) : client.limits;
    const rights = { scopes: client.scopes, allowFrom, models, namesEndUsers, expiresAt, limits };
    const next = withRights(client, rights);
    if (next === client) return unchanged(keyring);
    const told = changesBetween(client, next);
    return (
      limitsFault(limits) ??
      changed(keyring, next, [{ kind: 'clientChanged', client: client.name, changes: told }])
    );
  });

/** What a client may do. */
type Rights = Pick<
  Client,
  'scopes' | 'allowFrom' | 'models' | 'limits' | 'expiresAt' | 'namesEndUsers'
>;

/** The client with these rights; the same object, or the same parts, where they are no others. */
export function withRights(client: Client, rights: Rights): Client {
  const allowFrom = sameList(client.allowFrom, rights.allowFrom);
  const models = sameList(client.models, rights.models);
  const scopes = sameList(client.scopes, rights.scopes);
  const limits = sameLimits(client.limits, rights.limits) ? client.limits : rights.limits;
  const { expiresAt, namesEndUsers } = rights;
  const isSame =
    allowFrom === client.allowFrom &&
    models === client.models &&
    scopes === client.scopes &&
    limits === client.limits &&
    expiresAt === client.expiresAt &&
    namesEndUsers === client.namesEndUsers;
  if (isSame) return client;
  return { ...client, allowFrom, models, scopes, limits, expiresAt, namesEndUsers };
}

const sameList = <T>(before: readonly T[], after: readonly T[]): readonly T[] =>
  before.length === after.length && before.every((each, at) => each === after[at]) ? before : after;

/** `{ rpm: '60 → 120' }`: what of a client's rights is not as it was. */
export function changesBetween(before: Client, after: Client): Readonly<Record<string, string>> {
  const [old, now] = [wordsOf(before), wordsOf(after)];
  return Object.fromEntries(
    Object.entries(now)
      .filter(([name, word]) => old[name] !== word)
      .map(([name, word]) => [name, `${old[name] ?? ''} → ${word}`]),
  );
}

/** What a client may do, each right in words. */
function wordsOf({ scopes, limits, models, allowFrom, expiresAt, namesEndUsers }: Client) {
  const amount = (value: number | undefined): string => String(value ?? 'none');
  const words: Readonly<Record<string, string>> = {
    scopes: scopes.join(', '),
    rpm: amount(limits?.rpm),
    parallel: amount(limits?.parallel),
    tokensPerDay: amount(limits?.tokensPerDay),
    usdPerDay: amount(limits?.usdPerDay),
    limitMode: limits?.mode ?? 'refuse',
    models: models.join(', ') || 'all',
    allowFrom: allowFrom.join(', ') || 'anywhere',
    expiresAt: expiresAt === undefined ? 'never' : new Date(expiresAt).toISOString(),
    namesEndUsers: namesEndUsers ? 'yes' : 'no',
  };
  return words;
}

/** Whether a client has had no key since it was added, or was added again. */
export function isNewcomer({ tombstones }: Keyring, client: Client): boolean {
  const { name, generations, createdAt } = client;
  if (generations.length > 0) return false;
  for (const each of tombstones.values()) {
    if (each.client === name && each.createdAt >= createdAt) return false;
  }
  return true;
}

export const disable = (keyring: Keyring, name: string): Transition =>
  withClient(keyring, name, (client) => {
    if (client.disabledByHand) {
      return refuse('client_disabled', `client ${name} is disabled already`);
    }
    const events: KeyringEvent[] = [{ kind: 'clientDisabled', client: name }];
    return changed(keyring, { ...client, disabled: true, disabledByHand: true }, events);
  });

export const enable = (keyring: Keyring, name: string): Transition =>
  withClient(keyring, name, (client) => {
    if (!client.disabled) return refuse('client_enabled', `client ${name} is enabled already`);
    if (activeOf(client) === undefined) {
      const more = client.disabledByHand ? '' : ' and enables it';
      const hint = `\`sidecar rotate ${name}\` makes one${more}`;
      return refuse('no_active_key', `client ${name} has no active key`, hint);
    }
    const events: KeyringEvent[] = [{ kind: 'clientEnabled', client: name }];
    return changed(keyring, { ...client, disabled: false, disabledByHand: false }, events);
  });

export const remove = (keyring: Keyring, name: string, now: number): Transition =>
  withClient(keyring, name, (client) => {
    if (name === MASTER) {
      const hint = `\`sidecar clients disable ${MASTER}\` refuses all of its keys`;
      return refuse('master_stays', `${MASTER} cannot be removed`, hint);
    }
    const staged = client.staged ? [generationOf(client.staged, undefined)] : [];
    const ended = [...client.generations, ...staged].map((each) =>
      tombstoneOf(name, each, 'revoked', now),
    );
    const events: KeyringEvent[] = ended.map(({ number }) => {
      return { kind: 'revoked', client: name, generation: idOf(name, number), compromised: false };
    });
    events.push({ kind: 'clientRemoved', client: name });
    const lastNumber = client.staged?.number ?? client.lastNumber;
    if (lastNumber === 0) return forgotten(keyring, name, events);
    const shut = { disabled: true, disabledByHand: false };
    const gone = { ...shut, removed: true, staged: undefined, idempotency: undefined };
    return changed(keyring, { ...client, ...gone, lastNumber, generations: [] }, events, ended);
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
  const client = keyring.clients.get(parsed?.client ?? '');
  if (parsed === undefined || client === undefined) return unknownGeneration(keyring, id);
  const { name, staged } = client;
  const { number } = parsed;
  if (staged?.number === number) return underWay(client);
  const generation = findGeneration(keyring, name, number);
  if (generation === undefined) return unknownGeneration(keyring, id);
  if ('endedAt' in generation) {
    return refuse('already_ended', `${id} was ${generation.state} before, and opens nothing`);
  }
  if (client.inFile) return inFile(client);
  const events: KeyringEvent[] = [{ kind: 'revoked', client: name, generation: id, compromised }];
  const disabled = client.disabled || generation.state === 'active';
  if (disabled !== client.disabled) events.push({ kind: 'clientDisabled', client: name });
  const generations = client.generations.filter((each) => each !== generation);
  const ended = [tombstoneOf(name, generation, 'revoked', now)];
  return changed(keyring, { ...client, generations, disabled }, events, ended);
}

/** Notes that every publish target has the key, so that older ones may retire. */
export const published = (keyring: Keyring, command: Numbered, now: number): Transition =>
  withValid(keyring, command, (client, generation) => {
    if (generation.publishedAt !== undefined) return unchanged(keyring);
    const { name } = client;
    const generations = client.generations.map((each) =>
      each === generation ? { ...each, publishedAt: now } : each,
    );
    const id = idOf(name, generation.number);
    return changed(keyring, { ...client, generations }, [
      { kind: 'published', client: name, generation: id },
    ]);
  });

/** Starts the clocks of all older generations that wait for a newer key to be used. */
export const firstUse = (keyring: Keyring, command: Numbered, now: number): Transition =>
  withValid(keyring, command, (client, used) => {
    // Whoever reads a target that lacks the newest key still needs the old one.
    if (activeOf(client)?.publishedAt === undefined) return unchanged(keyring);
    const { name } = client;
    const events: KeyringEvent[] = [];
    const generations = client.generations.map((each): Generation => {
      const { number, retirement } = each;
      if (number >= used.number) return each;
      if (retirement === undefined || retirement.deadline !== undefined) return each;
      const deadline = Math.min(retirement.latestEnd, now + retirement.graceMs);
      const [id, by] = [idOf(name, number), idOf(name, used.number)];
      events.push({ kind: 'clockStarted', client: name, generation: id, by, deadline });
      return { ...each, retirement: { ...retirement, deadline } };
    });
    return events.length === 0
      ? unchanged(keyring)
      : changed(keyring, { ...client, generations }, events);
  });

/** Calls `next` with a valid generation. Of a staged one and of a tombstone it notes nothing. */
function withValid(
  keyring: Keyring,
  { client: name, number }: Numbered,
  next: (client: Client, generation: Generation) => Transition,
): Transition {
  const client = keyring.clients.get(name);
  if (client === undefined) return unknownClient(keyring, name);
  if (client.staged?.number === number) return unchanged(keyring);
  const generation = findGeneration(keyring, name, number);
  if (generation === undefined) return unknownGeneration(keyring, idOf(name, number));
  return 'endedAt' in generation ? unchanged(keyring) : next(client, generation);
}
