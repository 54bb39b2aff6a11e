import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { REFUSAL_CODES } from '../../src/refusal.ts';
import { exchange } from './exchange.ts';
import { labelValues, parseSeries } from './exposition.ts';
import { GROUPS, startMetrics } from './start-metrics.ts';

/** Puts something into every family, and as much as fits. */
const fill = ({ events }: ReturnType<typeof startMetrics>): void => {
  for (let client = 0; client < 60; client += 1) {
    for (const group of ['chat', ...GROUPS, 'unheard-of']) {
      for (const status of [0, 200, 401, 404, 429, 503]) {
        events.onExchangeEnd(exchange({ client: `client "${client}"`, group, status }));
      }
    }
  }
  for (let model = 0; model < 120; model += 1) {
    const stream = { firstChunkMs: 90, lastChunkMs: 900, chunks: 9, upstreamMs: 60 };
    const tokens = { input: 9, output: 9, cached: 1, cacheWrite: 1, reasoning: 1 };
    const used = { usage: { tokens, costUsd: 1e-7 }, model: `a "model" of ${model}` };
    events.onExchangeEnd(exchange({ ...stream, ...used }));
    events.onExchangeEnd(exchange({ usageFault: 'absent' }));
  }
  events.onExchangeEnd(exchange({ refusal: 'unknown_key', outcome: 'client_aborted' }));
  events.onRetry('reused_connection');
  events.onUpstreamError('connect');
};

const hasPromtool = spawnSync('promtool', ['--version']).error === undefined;

describe('exposition', () => {
  it.skipIf(!hasPromtool)(
    'promtool (it is on PATH) finds nothing to say, empty and full',
    async () => {
      const metrics = startMetrics();
      const empty = await metrics.render();
      fill(metrics);
      metrics.time.ms += 1000;
      for (const input of [empty, await metrics.render()]) {
        const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input });
        expect(`${stdout}${stderr}`).toBe('');
        expect(status).toBe(0);
      }
    },
  );

  it('shows every family and its closed labels before the first request', async () => {
    const { answer } = startMetrics();
    const { type, body: text } = await answer(undefined);
    expect(type).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(
      [...text.matchAll(/^# TYPE litellm_sidecar_(.*)$/gm)].map((match) => match[1]).sort(),
    ).toMatchInlineSnapshot(`
      [
        "build_info gauge",
        "client_aborts_total counter",
        "client_expires_timestamp_seconds gauge",
        "config_changes_total counter",
        "cost_usd_total counter",
        "handover_duration_seconds histogram",
        "handover_faults_total counter",
        "handover_state gauge",
        "handovers_total counter",
        "key_created_timestamp_seconds gauge",
        "key_deadline_timestamp_seconds gauge",
        "key_last_used_timestamp_seconds gauge",
        "key_requests_total counter",
        "limit_reached_total counter",
        "limit_used_ratio gauge",
        "model_requests_total counter",
        "overhead_seconds histogram",
        "publish_failures_total counter",
        "publish_pending gauge",
        "refusals_total counter",
        "request_bytes_total counter",
        "request_duration_seconds histogram",
        "requests_held gauge",
        "requests_in_flight gauge",
        "requests_total counter",
        "response_bytes_total counter",
        "rotations_total counter",
        "store_up gauge",
        "streams_in_flight gauge",
        "time_per_output_chunk_seconds histogram",
        "time_to_first_byte_seconds histogram",
        "time_to_first_chunk_seconds histogram",
        "tokens_total counter",
        "tombstone_uses_total counter",
        "upstream_errors_total counter",
        "upstream_key_accepted gauge",
        "upstream_retries_total counter",
        "upstream_up gauge",
        "upstream_wait_seconds histogram",
        "usage_missing_total counter",
        "usage_pending_rows gauge",
        "usage_store_up gauge",
        "websockets_in_flight gauge",
      ]
    `);
    const series = parseSeries(text);
    for (const code of REFUSAL_CODES) {
      expect(series.get(`litellm_sidecar_refusals_total{reason="${code}"}`)).toBe(0);
    }
    expect(labelValues(text, 'litellm_sidecar_upstream_errors_total', 'kind')).toEqual(
      new Set(['connect', 'reset', 'timeout', 'protocol', 'aborted']),
    );
    expect(series.get('litellm_sidecar_upstream_retries_total{kind="reused_connection"}')).toBe(0);
    expect(series.get('litellm_sidecar_overhead_seconds_count')).toBe(0);
    expect(series.get('litellm_sidecar_build_info{version="1.2.3",node="24.0.0"}')).toBe(1);
    expect(series.get('process_resident_memory_bytes')).toBeGreaterThan(1e6);
  });

  it('keeps instances apart', async () => {
    const [one, two] = [startMetrics(), startMetrics()];
    one.events.onExchangeEnd(exchange());
    expect((await one.series()).get('litellm_sidecar_request_bytes_total')).toBe(1024);
    expect((await two.series()).get('litellm_sidecar_request_bytes_total')).toBe(0);
  });
});

describe('rendering', () => {
  it('is cached for a second, and shared by those who ask meanwhile', async () => {
    const metrics = startMetrics();
    const first = await metrics.render();
    metrics.events.onExchangeEnd(exchange());
    metrics.time.ms = 999;
    expect(await metrics.render()).toBe(first);
    metrics.time.ms = 1000;
    expect(parseSeries(await metrics.render()).get('litellm_sidecar_request_bytes_total')).toBe(
      1024,
    );
  });

  it('does not keep a failure', async () => {
    let broken = true;
    const { render } = startMetrics({
      upstreamUp: () => {
        if (broken) throw new Error('not yet');
        return new Map();
      },
    });
    await expect(render()).rejects.toThrow('not yet');
    broken = false;
    await expect(render()).resolves.toContain('litellm_sidecar_build_info');
  });
});

describe('the runtime', () => {
  it("has Node's defaults under their usual names, without those that walk every socket", async () => {
    const names = [...(await startMetrics().series()).keys()].map((key) => key.replace(/\{.*/, ''));
    for (const name of [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'process_start_time_seconds',
      'nodejs_eventloop_lag_p99_seconds',
      'nodejs_heap_size_used_bytes',
      'nodejs_version_info',
    ]) {
      expect(names).toContain(name);
    }
    expect(names.filter((name) => name.includes('active'))).toEqual([]);
  });

  it.skipIf(!existsSync('/proc/self/fd'))('counts open files (there is /proc)', async () => {
    const { series } = startMetrics();
    const before = (await series()).get('process_open_fds') ?? 0;
    const files = Array.from({ length: 50 }, () => openSync('/dev/null', 'r'));
    const during = (await series()).get('process_open_fds') ?? 0;
    for (const file of files) closeSync(file);
    expect(before).toBeGreaterThan(0);
    // The runner itself opens and closes some meanwhile
    expect(Math.abs(during - before - 50)).toBeLessThan(20);
  });
});
