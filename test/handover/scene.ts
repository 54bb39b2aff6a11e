import type { Limits, Observation, ObservedSlot } from '../../src/handover/observation.ts';
import { firstState, type Handover, type UpstreamState } from '../../src/handover/state.ts';
import type { SlotReport } from '../../src/litellm/report.ts';
import type { SlotName } from '../../src/litellm/slots.ts';
import type { Verdict } from '../../src/litellm/verify.ts';

export const MINUTE = 60_000;
export const START = Date.UTC(2026, 0, 1);

export const LIMITS: Limits = {
  handoverTimeoutMs: 5 * MINUTE,
  probationMs: 90_000,
  drainMs: 10 * MINUTE,
  ports: { a: 4000, b: 4002 },
};

export const GOOD: Verdict = { kind: 'good', models: ['mock'] };
export const SILENT: Verdict = { kind: 'silent' };

const EMPTY: ObservedSlot = {
  folder: 'none',
  keyDigest: undefined,
  check: undefined,
  report: undefined,
  portSince: undefined,
  masterKeyLine: undefined,
  failure: undefined,
  load: { requests: 0, websockets: 0, mcpSessions: 0 },
  isUp: false,
  cut: undefined,
};

/** A slot with a key and the folder that holds it. */
export const placed = (slot: SlotName, changes: Partial<ObservedSlot> = {}): ObservedSlot => ({
  ...EMPTY,
  folder: { id: `id-${slot}`, keyDigest: `key-${slot}`, configDigest: 'config' },
  keyDigest: `key-${slot}`,
  isUp: true,
  ...changes,
});
export const empty = (changes: Partial<ObservedSlot> = {}): ObservedSlot => ({
  ...EMPTY,
  ...changes,
});

export const checked = (verdict: Verdict, since = START, count = 1) => ({ verdict, since, count });

export const report = (slot: SlotName, changes: Partial<SlotReport> = {}): SlotReport => ({
  slotId: `id-${slot}`,
  attempt: 1,
  lines: ['a last word'],
  endedWith: undefined,
  port: undefined,
  ...changes,
});

export const seeing = (
  a: ObservedSlot,
  b: ObservedSlot,
  changes: Partial<Observation> = {},
): Observation => ({
  slots: { a, b },
  trafficAt: 'a',
  someoneWaits: false,
  startedAt: START - 60 * MINUTE,
  ...changes,
});

/** Slot a serves, and was verified. */
export const serving = (changes: Partial<UpstreamState> = {}): UpstreamState => ({
  ...firstState('a'),
  verifiedAt: START,
  ...changes,
});

/** A handover from a to b is at this step since `START`. */
export const handingOver = (
  step: Handover['step'],
  handover: Partial<Handover> = {},
  changes: Partial<UpstreamState> = {},
): UpstreamState => {
  const isOver = step === 'switched' || step === 'draining';
  return serving({
    active: isOver ? 'b' : 'a',
    counter: 1,
    keyMadeAt: { a: START, b: START },
    handover: {
      ...{ number: 1, kind: 'rotate', by: 'cli:alice', step, from: 'a', to: 'b' },
      ...{ startedAt: START, stateSince: START, ...(isOver && { switchedAt: START }) },
      ...handover,
    },
    ...changes,
  });
};
