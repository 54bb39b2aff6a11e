/**
 * What a keyring should do, told in another way than the code: a client is a stack of keys, the
 * top one rules, and each key carries its fate. Slow, mutable, and without a thought for storage.
 */
export interface NaiveKey {
  readonly value: number;
  readonly client: string;
  readonly number: number;
  readonly born: number;
  fate: 'staged' | 'stacked' | 'expired' | 'revoked' | 'never';
  readonly grace: number;
  readonly leaked: boolean;
  published: boolean;
  /** While it is below the top. */
  waits: { grace: number; latest: number; deadline: number | null } | null;
}

interface NaiveClient {
  name: string;
  stack: NaiveKey[];
  /** The top of the stack is the key to use; else it was revoked, and all below are refused. */
  headed: boolean;
  off: boolean;
  /** Somebody turned it off, and a new key does not turn it on. */
  shut: boolean;
  gone: boolean;
  /** The file rules it: each key of its stack is as good as the top. */
  filed: boolean;
  staged: NaiveKey | null;
  count: number;
  addedAt: number;
  expiresAt: number | null;
  rpm: number | null;
}

export interface NaiveState {
  clients: Record<string, NaiveClient>;
  keys: NaiveKey[];
  declared: Record<string, number>;
}

/** A command, with keys by their place in a list. */
export type NaiveOp =
  | { kind: 'pass' }
  | { kind: 'addClient'; client: string; expiresAt: number | null }
  | { kind: 'setClient'; client: string; expiresAt?: number | null; rpm?: number | null }
  | { kind: 'stage'; client: string; value: number; grace: number; leaked: boolean; file: boolean }
  | { kind: 'commit'; client: string; published: boolean }
  | { kind: 'revoke' | 'published' | 'firstUse'; client: string; number: number }
  | { kind: 'unstage' | 'rollback' | 'disable' | 'enable' | 'remove'; client: string }
  | { kind: 'remember'; value: number }
  | { kind: 'fileClients'; clients: readonly NaiveFileClient[] };

export interface NaiveFileClient {
  readonly client: string;
  readonly values: readonly number[];
  readonly expiresAt: number | null;
  readonly rpm: number | null;
}

export const LONGEST_GRACE = 150;

export interface NaiveOutcome {
  fault: string | null;
  /** `retired master-1` and the like, of keys and clocks. */
  log: string[];
}

type Say = (what: string, key: NaiveKey) => void;

const endOf = ({ waits }: NaiveKey): number =>
  waits ? (waits.deadline ?? waits.latest) : Infinity;

/** Changes `state`, which is to be thrown away where there is a fault. */
export function naively(state: NaiveState, op: NaiveOp, now: number): NaiveOutcome {
  const log: string[] = [];
  const say: Say = (what, key) => {
    log.push(`${what} ${key.client}-${key.number}`);
  };
  expire(state, now, say);
  const fault = apply(state, op, now, say);
  expire(state, now, say);
  return { fault: fault ?? null, log: log.sort() };
}

function expire({ clients }: NaiveState, now: number, say: Say): void {
  for (const client of Object.values(clients)) {
    const top = client.headed ? client.stack.at(-1) : undefined;
    client.stack = client.stack.filter((key) => {
      const over = endOf(key) <= now || (key.waits?.grace === 0 && top?.published === true);
      if (!over) return true;
      key.fate = 'expired';
      say('retired', key);
      return false;
    });
  }
}

const kill = (key: NaiveKey, say: Say): void => {
  key.fate = 'revoked';
  say('revoked', key);
};

const isFresh = (state: NaiveState, client: NaiveClient): boolean =>
  !state.keys.some(
    ({ client: name, fate, born }) =>
      name === client.name && !['staged', 'never'].includes(fate) && born >= client.addedAt,
  );

function apply(state: NaiveState, op: NaiveOp, now: number, say: Say): string | undefined {
  if (op.kind === 'pass') return undefined;
  if (op.kind === 'remember') {
    state.declared['dotenv'] = op.value;
    return undefined;
  }
  if (op.kind === 'addClient') return add(state, op, now);
  if (op.kind === 'fileClients') return file(state, op.clients, now, say);
  const client = state.clients[op.client];
  if (op.kind === 'published' || op.kind === 'firstUse' || op.kind === 'revoke') {
    const key = state.keys.findLast(
      ({ client: name, number, fate }) =>
        name === op.client && number === op.number && fate !== 'never',
    );
    if (client === undefined && op.kind !== 'revoke') return 'unknown_client';
    if (client === undefined || key === undefined) return 'unknown_generation';
    return ofKey(client, key, op.kind, now, say);
  }
  if (client === undefined || client.gone) return 'unknown_client';
  if (client.filed) return 'client_in_file';
  return ofClient(state, client, op, now, say);
}

function add(
  { clients }: NaiveState,
  { client: name, expiresAt }: Extract<NaiveOp, { kind: 'addClient' }>,
  now: number,
): string | undefined {
  const old = clients[name];
  if (old?.filed === true) return 'client_in_file';
  if (old?.gone === false) return 'client_exists';
  if (expiresAt !== null && (expiresAt <= now || name === 'master')) return 'bad_expiry';
  const client = {
    name,
    stack: [],
    headed: false,
    off: true,
    shut: false,
    gone: false,
    filed: false,
    staged: null,
  };
  clients[name] = { ...client, count: old?.count ?? 0, addedAt: now, expiresAt, rpm: null };
  return undefined;
}

function file(
  state: NaiveState,
  wanted: readonly NaiveFileClient[],
  now: number,
  say: Say,
): string | undefined {
  const taken = new Map<number, string>();
  for (const each of wanted) {
    const fault = fileFault(state, each, taken);
    if (fault !== undefined) return fault;
  }
  for (const client of Object.values(state.clients)) {
    if (!client.filed || wanted.some((each) => each.client === client.name)) continue;
    for (const key of client.stack.splice(0)) kill(key, say);
    Object.assign(client, { headed: false, off: true, gone: true, filed: false });
  }
  for (const each of wanted) takeFromFile(state, each, now, say);
  return undefined;
}

function fileFault(
  { keys }: NaiveState,
  { client, values }: NaiveFileClient,
  taken: Map<number, string>,
): string | undefined {
  if (client === 'master') return 'bad_client_name';
  if (values.length > 8) return 'too_many_generations';
  for (const value of values) {
    const same = keys.find((key) => key.value === value && key.fate !== 'never');
    if (same?.fate === 'expired' || same?.fate === 'revoked') return 'key_is_tombstone';
    if ((same?.client ?? taken.get(value) ?? client) !== client) return 'key_of_another_client';
    taken.set(value, client);
  }
  return undefined;
}

function takeFromFile(
  state: NaiveState,
  { client: name, values, expiresAt, rpm }: NaiveFileClient,
  now: number,
  say: Say,
): void {
  if (state.clients[name]?.gone !== false) {
    const count = state.clients[name]?.count ?? 0;
    const empty = { stack: [], gone: false, staged: null, addedAt: now };
    state.clients[name] = { name, ...empty, count } as unknown as NaiveClient;
  }
  const client = state.clients[name] as NaiveClient;
  if (client.staged) {
    client.count++;
    client.stack.push(client.staged);
  }
  Object.assign(client, { headed: true, off: false, shut: false, filed: true, staged: null });
  Object.assign(client, { expiresAt, rpm });
  for (const key of client.stack.filter((each) => !values.includes(each.value))) kill(key, say);
  client.stack = client.stack.filter(({ fate }) => fate !== 'revoked');
  for (const key of client.stack)
    Object.assign(key, { fate: 'stacked', waits: null, published: true });
  for (const value of values) {
    if (client.stack.some((key) => key.value === value)) continue;
    client.count++;
    const key: NaiveKey = {
      ...{ value, client: name, number: client.count, born: now, fate: 'stacked', grace: 0 },
      ...{ leaked: false, published: true, waits: null },
    };
    client.stack.push(key);
    state.keys.push(key);
    say('keyAdded', key);
  }
}

function ofKey(
  client: NaiveClient,
  key: NaiveKey,
  kind: 'published' | 'firstUse' | 'revoke',
  now: number,
  say: Say,
): string | undefined {
  if (key.fate === 'staged') return kind === 'revoke' ? 'rotation_under_way' : undefined;
  const place = client.stack.indexOf(key);
  if (kind === 'revoke' && client.filed && place >= 0) return 'client_in_file';
  if (kind === 'revoke') return revoke(client, key, place, say);
  if (kind === 'published') key.published ||= place >= 0;
  else if (client.headed && client.stack.at(-1)?.published === true) {
    for (const older of client.stack.slice(0, Math.max(place, 0))) {
      if (older.waits === null || older.waits.deadline !== null) continue;
      older.waits.deadline = Math.min(older.waits.latest, now + older.waits.grace);
      say('clockStarted', older);
    }
  }
  return undefined;
}

function revoke(client: NaiveClient, key: NaiveKey, place: number, say: Say): string | undefined {
  if (place < 0) return 'already_ended';
  if (client.headed && place === client.stack.length - 1) {
    Object.assign(client, { headed: false, off: true });
  }
  client.stack.splice(place, 1);
  kill(key, say);
  return undefined;
}

function ofClient(
  state: NaiveState,
  client: NaiveClient,
  op: Extract<NaiveOp, { client: string }>,
  now: number,
  say: Say,
): string | undefined {
  switch (op.kind) {
    case 'setClient':
      return set(client, op, now);
    case 'stage':
      return stage(state, client, op, now);
    case 'commit':
      return commit(state, client, op.published, now, say);
    case 'unstage':
      return unstage(state, client);
    case 'rollback':
      return rollback(client, say);
    case 'disable':
      if (client.shut) return 'client_disabled';
      Object.assign(client, { off: true, shut: true });
      return undefined;
    case 'enable':
      if (!client.off) return 'client_enabled';
      if (!client.headed) return 'no_active_key';
      Object.assign(client, { off: false, shut: false });
      return undefined;
    default:
      return remove(state, client, say);
  }
}

function set(
  client: NaiveClient,
  { expiresAt, rpm }: Extract<NaiveOp, { kind: 'setClient' }>,
  now: number,
): string | undefined {
  const ends = expiresAt !== undefined && expiresAt !== null;
  if (ends && (expiresAt <= now || client.name === 'master')) return 'bad_expiry';
  if (expiresAt !== undefined) client.expiresAt = expiresAt;
  if (rpm !== undefined) client.rpm = rpm;
  return undefined;
}

function unstage(state: NaiveState, client: NaiveClient): string | undefined {
  if (client.staged === null) return 'nothing_staged';
  client.staged.fate = 'never';
  client.staged = null;
  if (isFresh(state, client)) client.gone = true;
  if (client.gone && client.count === 0) delete state.clients[client.name];
  return undefined;
}

function rollback(client: NaiveClient, say: Say): string | undefined {
  if (client.staged) return 'rotation_under_way';
  const top = client.stack.at(-1);
  if (client.off || !client.headed || top === undefined) return 'client_disabled';
  if (top.leaked) return 'no_rollback_after_compromise';
  const below = client.stack.at(-2);
  if (below === undefined) return 'nothing_to_roll_back';
  client.stack.pop();
  kill(top, say);
  below.waits = null;
  return undefined;
}

function remove(state: NaiveState, client: NaiveClient, say: Say): string | undefined {
  if (client.name === 'master') return 'master_stays';
  for (const key of [...client.stack, ...(client.staged ? [client.staged] : [])]) kill(key, say);
  if (client.staged) client.count++;
  Object.assign(client, { stack: [], headed: false, off: true, shut: false, gone: true });
  client.staged = null;
  if (client.count === 0) delete state.clients[client.name];
  return undefined;
}

function stage(
  state: NaiveState,
  client: NaiveClient,
  op: Extract<NaiveOp, { kind: 'stage' }>,
  now: number,
): string | undefined {
  if (client.staged) return 'rotation_under_way';
  if (client.expiresAt !== null && client.expiresAt <= now) return 'bad_expiry';
  if (op.grace < 0 || op.grace > LONGEST_GRACE) return 'bad_grace';
  const same = sameKeyFault(state, client, op.value);
  if (same !== undefined) return same;
  if (!op.leaked && client.stack.length >= 8) return 'too_many_generations';
  client.staged = {
    value: op.value,
    client: client.name,
    number: client.count + 1,
    born: now,
    fate: 'staged',
    grace: op.grace,
    leaked: op.leaked,
    published: false,
    waits: null,
  };
  state.keys.push(client.staged);
  if (op.file) state.declared[`staged ${client.name}`] = op.value;
  else delete state.declared[`staged ${client.name}`];
  return undefined;
}

function sameKeyFault(
  { keys }: NaiveState,
  client: NaiveClient,
  wanted: number,
): string | undefined {
  const same = keys.find(({ value, fate }) => value === wanted && fate !== 'never');
  if (same === undefined) return undefined;
  if (same.fate === 'expired' || same.fate === 'revoked') return 'key_is_tombstone';
  if (same.client !== client.name) return 'key_of_another_client';
  return same.waits ? 'key_is_retiring' : 'key_is_active';
}

function commit(
  state: NaiveState,
  client: NaiveClient,
  published: boolean,
  now: number,
  say: Say,
): string | undefined {
  const key = client.staged;
  if (key === null) return 'nothing_staged';
  const top = client.headed ? client.stack.at(-1) : undefined;
  if (top) top.waits = { grace: key.grace, latest: now + LONGEST_GRACE, deadline: null };
  if (key.leaked) for (const older of client.stack.splice(0)) kill(older, say);
  key.fate = 'stacked';
  key.published = published;
  client.stack.push(key);
  client.count = key.number;
  Object.assign(client, { staged: null, headed: true, off: client.shut });
  const declared = state.declared[`staged ${client.name}`];
  if (declared !== undefined) state.declared['file'] = declared;
  say('rotated', key);
  return undefined;
}

/** What a request with this key is answered at an instant; null: it is let through. */
export function answerTo(state: NaiveState, value: number, now: number): string | null {
  const key = state.keys.find((each) => each.value === value && each.fate !== 'never');
  const client = key && state.clients[key.client];
  if (key === undefined || client === undefined) return 'unknown_key';
  if (key.fate === 'expired') return 'expired_key';
  const isShut = key.fate === 'stacked' ? client.off : client.shut;
  if (key.fate === 'revoked' || isShut) return 'revoked_key';
  return now >= Math.min(endOf(key), client.expiresAt ?? Infinity) ? 'expired_key' : null;
}

/** How many requests a minute a valid key may make; null: as many as it likes. */
export function rpmOf({ keys, clients }: NaiveState, value: number): number | null {
  const key = keys.find(
    (each) => each.value === value && ['staged', 'stacked'].includes(each.fate),
  );
  return (key && clients[key.client]?.rpm) ?? null;
}

/** Whether the use of this key is worth telling. */
export function startsClock(state: NaiveState, value: number): boolean {
  const key = state.keys.find((each) => each.value === value && each.fate === 'stacked');
  const client = key && state.clients[key.client];
  if (key === undefined || client === undefined || client.off) return false;
  if (client.stack.at(-1)?.published !== true) return false;
  return client.stack
    .slice(0, client.stack.indexOf(key))
    .some(({ waits }) => waits !== null && waits.deadline === null);
}

/** The instants at which something ends, for a clock that likes to stop there. */
export const ends = ({ clients }: NaiveState): number[] =>
  Object.values(clients).flatMap(({ stack, expiresAt }) =>
    [...stack.map(endOf), expiresAt ?? Infinity].filter((end) => end !== Infinity),
  );
