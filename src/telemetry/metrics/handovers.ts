import type { Registry } from 'prom-client';
import {
  HANDOVER_ENDS,
  HANDOVER_FAULTS,
  HANDOVER_STEPS,
  type HandoverKind,
  type HandoverView,
} from '../../handover/views.ts';
import { createCounters } from './counter.ts';
import { registerFamily, type Sample } from './family.ts';
import { createHistogram } from './histogram.ts';

// A record, so that a kind that is added to the union does not compile until it stands here.
const KINDS: Record<HandoverKind, true> = { rotate: true, reload: true, 'dry-run': true };
const KIND_NAMES = Object.keys(KINDS) as HandoverKind[];

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
