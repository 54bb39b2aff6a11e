import { describe, expect, it } from 'vitest';
import type { HandoverView } from '../../src/handover/views.ts';
import { startMetrics } from './start-metrics.ts';

const ended = (changes: Partial<HandoverView> = {}): HandoverView => ({
  id: 'handover-1',
  kind: 'rotate',
  by: 'cli:alice',
  state: 'done',
  from: 'a',
  to: 'b',
  startedAt: '2026-01-01T00:00:00.000Z',
  stateSince: '2026-01-01T00:01:20.000Z',
  switchedAt: '2026-01-01T00:00:12.000Z',
  endedAt: '2026-01-01T00:01:20.000Z',
  waitsFor: null,
  fault: null,
  models: null,
  cut: 0,
  ...changes,
});

const own = (series: Map<string, number>, name: string) => series.get(`litellm_sidecar_${name}`);

describe('a handover', () => {
  it('is in one state at a time', async () => {
    const { handoverEvents, series } = startMetrics();
    const states = async () => {
      const all = await series();
      const at = ['idle', 'waiting', 'staged', 'starting', 'verified', 'switched', 'draining'];
      return at.filter((state) => own(all, `handover_state{state="${state}"}`) === 1);
    };
    expect(await states()).toEqual(['idle']);
    handoverEvents.onHandoverState('draining');
    expect(await states()).toEqual(['draining']);
  });

  it('is counted by how it ended, and timed to the switch', async () => {
    const { handoverEvents, series } = startMetrics();
    handoverEvents.onHandoverEnd(ended());
    const at = await series();
    expect(own(at, 'handovers_total{kind="rotate",outcome="done"}')).toBe(1);
    expect(own(at, 'handovers_total{kind="reload",outcome="done"}')).toBe(0);
    expect(own(at, 'handover_duration_seconds_sum{kind="rotate"}')).toBe(12);
    expect(own(at, 'handover_duration_seconds_count{kind="reload"}')).toBe(0);
    expect(own(at, 'handover_faults_total{reason="died"}')).toBe(0);
  });

  it('that was rolled back says why, and is timed to its end', async () => {
    const { handoverEvents, series } = startMetrics();
    const fault = { code: 'died', message: '', hint: '', lastWords: [] } as const;
    handoverEvents.onHandoverEnd(
      ended({ kind: 'reload', state: 'rolled_back', switchedAt: null, fault }),
    );
    handoverEvents.onConfigChange('refused');
    const at = await series();
    expect(own(at, 'handovers_total{kind="reload",outcome="rolled_back"}')).toBe(1);
    expect(own(at, 'handover_faults_total{reason="died"}')).toBe(1);
    expect(own(at, 'handover_duration_seconds_sum{kind="reload"}')).toBe(80);
    expect(own(at, 'config_changes_total{outcome="refused"}')).toBe(1);
    expect(own(at, 'config_changes_total{outcome="applied"}')).toBe(0);
  });
});

describe("rotations of LiteLLM's own key", () => {
  it('are counted beside those of clients', async () => {
    const { keyEvents, series } = startMetrics();
    keyEvents.onUpstreamRotation('schedule', 'failed');
    const at = await series();
    const count = (kind: string) =>
      own(at, `rotations_total{kind="${kind}",trigger="schedule",outcome="failed"}`);
    expect([count('client'), count('upstream')]).toEqual([0, 1]);
  });
});
