import type { Registry } from 'prom-client';
import {
  endOf,
  type Generation,
  type GenerationState,
  idOf,
  type Keyring,
  type Tombstone,
  tombstonesByClient,
} from '../keyring/keyring.ts';
import type { KnownKey } from '../keyring/snapshot.ts';
import { ROTATION_OUTCOMES, TRIGGERS } from '../rotation/admin.ts';
import type { KeyEvents } from '../rotation/keys.ts';
import {
  createCounter,
  type LabelSet,
  registerFamily,
  registerGauge,
  type Sample,
} from './series.ts';

/** What is read of keys at each scrape. */
export interface KeyReadings {
  /** Read four times; of each client the first two are shown. */
  readonly keys: () => Iterable<KeyGauges>;
  /** How many publish targets lack the newest key. */
  readonly publishPending: () => number;
}

/** Where a key is published; `state` is the state folder's own copy. */
const PLACES = ['file', 'dotenv', 'state'] as const;

/**
 * The families of keys that are counted: their use and their changes.
 *
 * @param clients those that are named; at most 63 values
 */
export const createKeyFamilies = (registry: Registry, clients: LabelSet) => {
  let storeUp = true;
  const up = { name: 'store_up', help: 'Whether the last save of the keyring succeeded.' };
  registerGauge(registry, up, () => (storeUp ? 1 : 0));
  const failures = createCounter(registry, {
    name: 'publish_failures_total',
    help: 'Tries to publish a key that failed.',
    labels: { kind: PLACES },
  });
  const rotations = createCounter(registry, {
    name: 'rotations_total',
    help: 'Rotations of keys.',
    labels: { kind: ['client', 'upstream'], trigger: TRIGGERS, outcome: ROTATION_OUTCOMES },
  });
  const countRotations =
    (kind: 'client' | 'upstream'): KeyEvents['onRotation'] =>
    (trigger, outcome) =>
      rotations({ kind, trigger, outcome });
  const events: Pick<KeyEvents, 'onRotation' | 'onPublishFailure' | 'onStore' | 'onClientsFile'> = {
    onClientsFile: createClientsFileFamilies(registry),
    onRotation: countRotations('client'),
    onPublishFailure: (target) => failures({ kind: target === 'state' ? target : target.kind }),
    onStore: (error) => {
      storeUp = error === undefined;
    },
  };
  return {
    ...events,
    /** `onKeyUse` is for the traffic path, as `TrafficEvents` has it. */
    ...createKeyRequests(registry, clients),
    /** The key that LiteLLM itself runs with. */
    onUpstreamRotation: countRotations('upstream'),
  };
};

/** Not there before it is told of such a file for the first time, which is at the start. */
function createClientsFileFamilies(registry: Registry): KeyEvents['onClientsFile'] {
  let isGood: boolean | undefined;
  let hash = 0;
  const register = (): void => {
    const help = 'Whether the clients file has no mistake, and rules as it stands there.';
    registerGauge(registry, { name: 'clients_file_up', help }, () => (isGood ? 1 : 0));
    const same = 'A hash of the clients file that rules: the same in each sidecar that has it.';
    registerGauge(registry, { name: 'clients_file_hash', help: same }, () => hash);
  };
  return (outcome) => {
    if (isGood === undefined) register();
    isGood = outcome.kind === 'rules';
    // 48 bits: a gauge is a double, which has 53.
    if (outcome.kind === 'rules') hash = Buffer.from(outcome.mark, 'base64url').readUIntBE(0, 6);
  };
}

/**
 * The families of keys that are read at each scrape: their dates, and what lacks the newest.
 *
 * @param onClient told of each client that has a name of its own, by its number, at each scrape
 */
export const registerKeyReadings = (
  registry: Registry,
  clients: LabelSet,
  { keys, publishPending }: KeyReadings,
  onClient: (client: number) => void,
): void => {
  registerDates(registry, clients, keys, onClient);
  const pending = { name: 'publish_pending', help: 'Publish targets that lack the newest key.' };
  registerGauge(registry, pending, publishPending);
};

// A record, so that a state that is added to the union does not compile until it stands here.
const PLACE_OF: Record<GenerationState, number> = {
  active: 0,
  retiring: 1,
  retired: 2,
  revoked: 3,
};
const STATES = Object.keys(PLACE_OF) as GenerationState[];
/** This state and those behind it are a tombstone's. */
const FIRST_TOMBSTONE = PLACE_OF.retired;

/**
 * Counts requests by the state of their key. Once a client is met, at a scrape at the latest, all
 * of its states stand at 0, so that the first use of a revoked key is an increase that `rate()`
 * sees.
 */
const createKeyRequests = (registry: Registry, clients: LabelSet) => {
  const rows: (readonly Sample[] | undefined)[] = [];
  const begin = (client: number): readonly Sample[] => {
    const name = clients.valueAt(client);
    const row = STATES.map((state) => ({ value: 0, sharedLabels: { client: name, state } }));
    rows[client] = row;
    return row;
  };
  const counter = (name: string, help: string, collect: () => Sample[]): void =>
    registerFamily(registry, { name, help, type: 'counter' }, collect);
  counter('key_requests_total', 'Requests with a key that is known, by the state of the key.', () =>
    rows.flatMap((row) => row ?? []),
  );
  counter('tombstone_uses_total', 'Requests with a key that was retired or revoked.', () =>
    rows.flatMap((row) => row?.slice(FIRST_TOMBSTONE) ?? []),
  );
  return {
    onKeyUse({ client, state }: KnownKey): void {
      const index = clients.indexOf(client);
      const sample = (rows[index] ?? begin(index))[PLACE_OF[state]];
      if (sample) sample.value += 1;
    },
    onClient(client: number): void {
      if (rows[client] === undefined) begin(client);
    },
  };
};

/** What is shown of one generation. Instants are milliseconds since the epoch. */
interface KeyGauges {
  readonly client: string;
  /** Its id, such as `master-3`. */
  readonly generation: string;
  readonly createdAt: number;
  /** Undefined: it was never used. */
  readonly lastUsedAt: number | undefined;
  /** Of a retiring one: until when it is good at the latest. */
  readonly deadline: number | undefined;
  /** When all keys of its client end; undefined: no end is set. */
  readonly clientEndsAt: number | undefined;
}

/** Generations of one client that are shown. */
const SHOWN = 2;

/**
 * The newest generations of each client, newest first.
 *
 * @param lastUsedAt of a generation, by its id
 */
export function* keyGauges(
  keyring: Keyring,
  lastUsedAt: (generation: string) => number | undefined,
): Generator<KeyGauges> {
  const ended = tombstonesByClient(keyring);
  for (const { name, removed, generations, expiresAt } of keyring.clients.values()) {
    if (removed) continue;
    const all = [...generations, ...(ended.get(name)?.slice(0, SHOWN) ?? [])];
    for (const generation of all.sort((a, b) => b.number - a.number).slice(0, SHOWN)) {
      const id = idOf(name, generation.number);
      yield {
        client: name,
        generation: id,
        createdAt: generation.createdAt,
        lastUsedAt: lastUsedAt(id),
        deadline: deadlineOf(generation),
        clientEndsAt: expiresAt,
      };
    }
  }
}

/** Only of a key that still works: that is what an alert on a deadline is about. */
const deadlineOf = (generation: Generation | Tombstone): number | undefined =>
  generation.state === 'retiring' ? endOf(generation) : undefined;

/** Reads at each scrape when keys were made and used, and until when they are good. */
const registerDates = (
  registry: Registry,
  clients: LabelSet,
  keys: () => Iterable<KeyGauges>,
  onClient: (client: number) => void,
): void => {
  const named = function* (
    read: (key: KeyGauges) => number | undefined,
    perClient: number,
  ): Generator<Sample> {
    const shown = new Map<number, number>();
    for (const key of keys()) {
      const index = clients.indexOf(key.client);
      const before = shown.get(index) ?? 0;
      // Clients beyond those that have a name of their own are not shown.
      if (index === 0 || before === perClient) continue;
      shown.set(index, before + 1);
      onClient(index);
      const ms = read(key);
      if (ms === undefined) continue;
      const { client, generation } = key;
      const sharedLabels = perClient === 1 ? { client } : { client, generation };
      yield { value: ms / 1000, sharedLabels };
    }
  };
  const gauge = (
    name: string,
    help: string,
    read: (key: KeyGauges) => number | undefined,
    perClient = SHOWN,
  ): void => registerFamily(registry, { name, help, type: 'gauge' }, () => named(read, perClient));
  gauge('key_created_timestamp_seconds', 'When a key was made.', (key) => key.createdAt);
  gauge('key_last_used_timestamp_seconds', 'When a key was last used.', (key) => key.lastUsedAt);
  gauge(
    'key_deadline_timestamp_seconds',
    'Until when a retiring key is good at the latest.',
    (key) => key.deadline,
  );
  gauge(
    'client_expires_timestamp_seconds',
    'When all keys of a client end, where an end is set.',
    (key) => key.clientEndsAt,
    1,
  );
};
