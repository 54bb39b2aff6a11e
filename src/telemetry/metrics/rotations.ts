import type { Registry } from 'prom-client';
import {
  type KeyEvents,
  type RotationOutcome,
  TRIGGERS,
  type Trigger,
} from '../../rotation/events.ts';
import { createCounters } from './counter.ts';
import { PREFIX, registerFamily, type Sample } from './family.ts';
import { Gauge } from './prom-client.ts';

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
