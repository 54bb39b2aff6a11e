import type { Registry } from 'prom-client';
import {
  HANDOVER_ENDS,
  HANDOVER_FAULTS,
  HANDOVER_STEPS,
  type HandoverKind,
  type HandoverView,
} from '../handover/views.ts';
import {
  endOf,
  type Generation,
  type GenerationState,
  idOf,
  type Keyring,
} from '../keyring/keyring.ts';
import type { KnownKey } from '../keyring/snapshot.ts';
import {
  type KeyEvents,
  type RotationOutcome,
  TRIGGERS,
  type Trigger,
} from '../rotation/events.ts';
import {
  createCounters,
  createHistogram,
  Gauge,
  type LabelSet,
  PREFIX,
  registerFamily,
  type Sample,
} from './series.ts';

// A record, so that a kind that is added to the union does not compile until it stands here.
const HANDOVER_KINDS: Record<HandoverKind, true> = { rotate: true, reload: true, 'dry-run': true };
const KIND_NAMES = Object.keys(HANDOVER_KINDS) as HandoverKind[];

/** A start of LiteLLM takes six seconds and more; the longest limit in use is some minutes. */
const BOUNDS = [2.5, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600];

/** What becomes of an edit of LiteLLM's configuration. */
export type ConfigOutcome = 'applied' | 'refused' | 'unusable';
const CONFIG_OUTCOMES: Record<ConfigOutcome, true> = {
  applied: true,
  refused: true,
  unusable: true,
};

/** What the metrics count of handovers. */
export interface HandoverEvents {
  /** A step began; `idle`: no handover is under way. */
  onHandoverState(state: HandoverView['state'] | 'idle'): void;
  onHandoverEnd(view: HandoverView): void;
  onConfigChange(outcome: ConfigOutcome): void;
}

/** One of a closed set stands at 1, the others at 0. */
const createState = (registry: Registry): HandoverEvents['onHandoverState'] => {
  const states = ['idle', ...HANDOVER_STEPS] as const;
  const samples = new Map<string, Sample>();
  for (const state of states) {
    samples.set(state, { value: state === 'idle' ? 1 : 0, sharedLabels: { state } });
  }
  const help = 'The step that the handover under way is in.';
  const family = { name: 'handover_state', help, type: 'gauge' } as const;
  registerFamily(registry, family, () => samples.values());
  return (state) => {
    for (const [name, sample] of samples) sample.value = name === state ? 1 : 0;
  };
};

/** Every combination stands at 0 from the start, so that the first event is an increase. */
const createEnds = (registry: Registry): ((view: HandoverView) => void) => {
  const samples = new Map<string, Sample>();
  for (const kind of KIND_NAMES) {
    for (const outcome of HANDOVER_ENDS) {
      samples.set(`${kind} ${outcome}`, { value: 0, sharedLabels: { kind, outcome } });
    }
  }
  const help = 'Handovers from one LiteLLM to another that ended.';
  registerFamily(registry, { name: 'handovers_total', help, type: 'counter' }, () =>
    samples.values(),
  );
  return ({ kind, state }) => {
    const sample = samples.get(`${kind} ${state}`);
    if (sample !== undefined) sample.value += 1;
  };
};

/** How changes of LiteLLM's key and configuration went. */
export const createHandoverEvents = (registry: Registry): HandoverEvents => {
  const count = createEnds(registry);
  const faults = createCounters(registry, {
    name: 'handover_faults_total',
    help: 'Handovers that were rolled back.',
    label: 'reason',
    values: HANDOVER_FAULTS,
  });
  const durations = createHistogram(registry, {
    name: 'handover_duration_seconds',
    help: 'From the first step of a handover to the switch, or to its end where there was none.',
    bounds: BOUNDS,
    labelsOf: (row) => ({ kind: KIND_NAMES[row] ?? '' }),
  });
  KIND_NAMES.forEach((_kind, row) => {
    durations.prepare(row);
  });
  const configChanges = createCounters(registry, {
    name: 'config_changes_total',
    help: "Edits of LiteLLM's configuration that were tried.",
    label: 'outcome',
    values: Object.keys(CONFIG_OUTCOMES) as ConfigOutcome[],
  });
  return {
    onHandoverState: createState(registry),
    onHandoverEnd(view) {
      count(view);
      if (view.fault !== null) faults.increment(view.fault.code);
      const end = view.switchedAt ?? view.endedAt ?? view.startedAt;
      durations.observe(
        KIND_NAMES.indexOf(view.kind),
        Date.parse(end) - Date.parse(view.startedAt),
      );
    },
    onConfigChange: configChanges.increment,
  };
};

/** What is shown of one generation. Instants are milliseconds since the epoch. */
export interface KeyGauges {
  readonly client: string;
  /** Its id, such as `master-3`. */
  readonly generation: string;
  readonly createdAt: number;
  /** Undefined: it was never used. */
  readonly lastUsedAt: number | undefined;
  /** Of a retiring one: until when it is good at the latest. */
  readonly deadline: number | undefined;
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
  for (const { name, removed, generations } of keyring.clients.values()) {
    if (removed) continue;
    for (const generation of generations.slice(-SHOWN).reverse()) {
      const id = idOf(name, generation.number);
      yield {
        client: name,
        generation: id,
        createdAt: generation.createdAt,
        lastUsedAt: lastUsedAt(id),
        deadline: deadlineOf(generation),
      };
    }
  }
}

/** When another one ended is in the audit: an alert on a deadline is about what still works. */
const deadlineOf = (generation: Generation): number | undefined =>
  generation.state === 'retiring' ? endOf(generation) : undefined;

/**
 * Reads at each scrape when keys were made and used, and until when they are good.
 *
 * @param clients those that are named; of the others nothing is shown
 */
export const registerKeyGauges = (
  registry: Registry,
  clients: LabelSet,
  keys: () => Iterable<KeyGauges>,
): void => {
  const named = function* (read: (key: KeyGauges) => number | undefined): Generator<Sample> {
    const shown = new Map<number, number>();
    for (const key of keys()) {
      const index = clients.indexOf(key.client);
      const before = shown.get(index) ?? 0;
      if (index === 0 || before === SHOWN) continue;
      shown.set(index, before + 1);
      const ms = read(key);
      if (ms === undefined) continue;
      const { client, generation } = key;
      yield { value: ms / 1000, sharedLabels: { client, generation } };
    }
  };
  const gauge = (name: string, help: string, read: (key: KeyGauges) => number | undefined): void =>
    registerFamily(registry, { name, help, type: 'gauge' }, () => named(read));
  gauge('key_created_timestamp_seconds', 'When a key was made.', (key) => key.createdAt);
  gauge('key_last_used_timestamp_seconds', 'When a key was last used.', (key) => key.lastUsedAt);
  gauge(
    'key_deadline_timestamp_seconds',
    'Until when a retiring key is good at the latest.',
    (key) => key.deadline,
  );
};

/** `state` is the state folder's own copy of a key. */
type Place = 'file' | 'dotenv' | 'state';

// Records, so that what is added to a union does not compile until it stands here.
const OUTCOMES: Record<RotationOutcome, true> = { done: true, failed: true, refused: true };
const PLACES: Record<Place, true> = { file: true, dotenv: true, state: true };

/** What the metrics count of keys, beside their use. */
export interface RotationEvents
  extends Pick<KeyEvents, 'onRotation' | 'onPublishFailure' | 'onStore'> {
  /** The key that LiteLLM itself runs with. */
  onUpstreamRotation: KeyEvents['onRotation'];
}

/** Whose key. */
const KINDS = ['client', 'upstream'] as const;
type Count = (kind: (typeof KINDS)[number], trigger: Trigger, outcome: RotationOutcome) => void;

/** Every combination stands at 0 from the start, so that the first event is an increase. */
const createRotations = (registry: Registry): Count => {
  const samples = new Map<string, Sample>();
  for (const kind of KINDS) {
    for (const trigger of TRIGGERS) {
      for (const outcome of Object.keys(OUTCOMES)) {
        const sharedLabels = { kind, trigger, outcome };
        samples.set(`${kind} ${trigger} ${outcome}`, { value: 0, sharedLabels });
      }
    }
  }
  const family = { name: 'rotations_total', help: 'Rotations of keys.', type: 'counter' } as const;
  registerFamily(registry, family, () => samples.values());
  return (kind, trigger, outcome) => {
    const sample = samples.get(`${kind} ${trigger} ${outcome}`);
    if (sample) sample.value += 1;
  };
};

/**
 * How changes of keys went.
 *
 * @param publishPending publish targets that lack the newest key, read at each scrape
 */
export const createRotationEvents = (
  registry: Registry,
  publishPending: () => number,
): RotationEvents => {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: PREFIX + name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  let storeUp = true;
  gauge('store_up', 'Whether the last save of the keyring succeeded.', () => (storeUp ? 1 : 0));
  gauge('publish_pending', 'Publish targets that lack the newest key.', publishPending);
  const failures = createCounters(registry, {
    name: 'publish_failures_total',
    help: 'Tries to publish a key that failed.',
    label: 'kind',
    values: Object.keys(PLACES) as Place[],
  });
  const count = createRotations(registry);
  return {
    onRotation: (trigger, outcome) => count('client', trigger, outcome),
    onUpstreamRotation: (trigger, outcome) => count('upstream', trigger, outcome),
    onPublishFailure: (target) => failures.increment(target === 'state' ? target : target.kind),
    onStore: (error) => {
      storeUp = error === undefined;
    },
  };
};

// Records, so that a state that is added to the union does not compile until it stands here.
const PLACE_OF: Record<GenerationState, number> = {
  active: 0,
  retiring: 1,
  retired: 2,
  revoked: 3,
};
const STATES = Object.keys(PLACE_OF) as GenerationState[];
/** From here on they are tombstones. */
const FIRST_TOMBSTONE = PLACE_OF.retired;

/**
 * Counts requests by the state of their key. Once a client is met all of its states stand at 0, so
 * that the first use of a revoked key is an increase that `rate()` sees.
 *
 * @param clients at most 63 values
 */
export const createKeyRequests = (
  registry: Registry,
  clients: LabelSet,
): { count(key: KnownKey): void } => {
  const rows: (readonly Sample[] | undefined)[] = [];
  const all = (): Sample[] => rows.flatMap((row) => row ?? []);
  const begin = (client: number): readonly Sample[] => {
    const name = clients.valueAt(client);
    const row = STATES.map((state) => ({ value: 0, sharedLabels: { client: name, state } }));
    rows[client] = row;
    return row;
  };
  registerFamily(
    registry,
    {
      name: 'key_requests_total',
      help: 'Requests with a key that is known, by the state of the key.',
      type: 'counter',
    },
    all,
  );
  registerFamily(
    registry,
    {
      name: 'tombstone_uses_total',
      help: 'Requests with a key that was retired or revoked.',
      type: 'counter',
    },
    () => rows.flatMap((row) => row?.slice(FIRST_TOMBSTONE) ?? []),
  );
  return {
    count: ({ client, state }) => {
      const index = clients.indexOf(client);
      const sample = (rows[index] ?? begin(index))[PLACE_OF[state]];
      if (sample) sample.value += 1;
    },
  };
};
