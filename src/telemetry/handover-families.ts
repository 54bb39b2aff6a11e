import { Gauge, type Registry } from 'prom-client';
import {
  HANDOVER_ENDS,
  HANDOVER_FAULTS,
  HANDOVER_KINDS,
  HANDOVER_STEPS,
  type HandoverView,
} from '../handover/views.ts';
import { createCounter, createHistogram, PREFIX } from './series.ts';

/** What becomes of an edit of LiteLLM's configuration. */
const CONFIG_OUTCOMES = ['applied', 'refused', 'unusable'] as const;

/** In seconds: a start of LiteLLM takes six and more, the longest limit in use some minutes. */
const BOUNDS = [2.5, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600];

/** The families of LiteLLM's handovers and of its configuration. */
export const createHandoverFamilies = (registry: Registry) => {
  const ends = createCounter(registry, {
    name: 'handovers_total',
    help: 'Handovers from one LiteLLM to another that ended.',
    labels: { kind: HANDOVER_KINDS, outcome: HANDOVER_ENDS },
  });
  const faults = createCounter(registry, {
    name: 'handover_faults_total',
    help: 'Handovers that were rolled back.',
    labels: { reason: HANDOVER_FAULTS },
  });
  const durations = createHistogram(registry, {
    name: 'handover_duration_seconds',
    help: 'From the first step of a handover to the switch, or to its end where there was none.',
    bounds: BOUNDS,
    labelsOf: (row) => ({ kind: HANDOVER_KINDS[row] ?? '' }),
  });
  for (const row of HANDOVER_KINDS.keys()) durations.prepare(row);
  const configChanges = createCounter(registry, {
    name: 'config_changes_total',
    help: "Edits of LiteLLM's configuration that were tried.",
    labels: { outcome: CONFIG_OUTCOMES },
  });
  return {
    /** A step began; `idle`: no handover is under way. */
    onHandoverState: createState(registry),
    onHandoverEnd(view: HandoverView): void {
      const { kind, state, fault, startedAt, switchedAt, endedAt } = view;
      const outcome = HANDOVER_ENDS.find((end) => end === state);
      if (outcome !== undefined) ends({ kind, outcome });
      if (fault !== null) faults({ reason: fault.code });
      const until = Date.parse(switchedAt ?? endedAt ?? startedAt);
      durations.observe(HANDOVER_KINDS.indexOf(kind), until - Date.parse(startedAt));
    },
    onConfigChange: (outcome: (typeof CONFIG_OUTCOMES)[number]) => configChanges({ outcome }),
  };
};

/** The step under way stands at 1, the others at 0. */
const createState = (registry: Registry) => {
  const gauge = new Gauge({
    name: `${PREFIX}handover_state`,
    help: 'The step that the handover under way is in.',
    labelNames: ['state'],
    registers: [registry],
  });
  const show = (now: HandoverView['state'] | 'idle'): void => {
    for (const state of ['idle', ...HANDOVER_STEPS]) gauge.set({ state }, state === now ? 1 : 0);
  };
  show('idle');
  return show;
};
