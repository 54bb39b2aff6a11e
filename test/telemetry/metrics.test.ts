import { spawnSync } from 'node:child_process';
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
    const { render, contentType } = startMetrics();
    const text = await render();
    expect(contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(
      [...text.matchAll(/^# TYPE litellm_sidecar_(.*)$/gm)].map((match) => match[1]).sort(),
    ).toMatchInlineSnapshot(`
      [
        "build_info gauge",
        "client_aborts_total counter",
        "config_changes_total counter",
        "handover_duration_seconds histogram",
        "handover_faults_total counter",
        "handover_state gauge",
        "handovers_total counter",
        "key_created_timestamp_seconds gauge",
        "key_deadline_timestamp_seconds gauge",
        "key_last_used_timestamp_seconds gauge",
        "key_requests_total counter",
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
        "time_to_first_byte_seconds histogram",
        "tombstone_uses_total counter",
        "upstream_errors_total counter",
        "upstream_retries_total counter",
        "upstream_up gauge",
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

describe('what is counted', () => {
  it('counts an exchange in each family that it touches', async () => {
    const { events, series } = startMetrics();
    events.onExchangeEnd(exchange());
    events.onExchangeEnd(exchange({ outcome: 'client_aborted', durationMs: 2_000_000 }));
    events.onRetry('reused_connection');
    events.onUpstreamError('timeout');
    const at = await series();
    const own = (name: string) => at.get(`litellm_sidecar_${name}`);
    expect(own('requests_total{client="master",route="chat",method="POST",status="200"}')).toBe(2);
    expect(own('request_duration_seconds_bucket{le="0.5",route="chat"}')).toBe(0);
    expect(own('request_duration_seconds_bucket{le="1",route="chat"}')).toBe(1);
    expect(own('request_duration_seconds_bucket{le="600",route="chat"}')).toBe(1);
    expect(own('request_duration_seconds_bucket{le="+Inf",route="chat"}')).toBe(2);
    expect(own('request_duration_seconds_sum{route="chat"}')).toBeCloseTo(2000.812, 3);
    expect(own('time_to_first_byte_seconds_bucket{le="0.25",route="chat"}')).toBe(2);
    expect(own('overhead_seconds_bucket{le="0.00005"}')).toBe(0);
    expect(own('overhead_seconds_bucket{le="0.0001"}')).toBe(2);
    expect(own('request_bytes_total')).toBe(2048);
    expect(own('response_bytes_total')).toBe(4096);
    expect(own('client_aborts_total')).toBe(1);
    expect(own('upstream_retries_total{kind="reused_connection"}')).toBe(1);
    expect(own('upstream_errors_total{kind="timeout"}')).toBe(1);
    expect(own('upstream_errors_total{kind="connect"}')).toBe(0);
  });

  it('counts a refusal by its code, and leaves its duration out', async () => {
    const { events, series } = startMetrics();
    const refused = { status: 401, refusal: 'revoked_key', overheadMs: -1, client: '-' } as const;
    events.onExchangeEnd(exchange(refused));
    const at = await series();
    expect(at.get('litellm_sidecar_refusals_total{reason="revoked_key"}')).toBe(1);
    expect(
      at.get('litellm_sidecar_requests_total{client="-",route="chat",method="POST",status="401"}'),
    ).toBe(1);
    expect(at.has('litellm_sidecar_request_duration_seconds_count{route="chat"}')).toBe(false);
    expect(at.get('litellm_sidecar_overhead_seconds_count')).toBe(0);
  });

  it('leaves the first byte out where none came', async () => {
    const { events, series } = startMetrics();
    events.onExchangeEnd(exchange({ firstByteMs: -1, status: 0 }));
    const at = await series();
    expect(at.get('litellm_sidecar_request_duration_seconds_count{route="chat"}')).toBe(1);
    expect(at.has('litellm_sidecar_time_to_first_byte_seconds_count{route="chat"}')).toBe(false);
  });

  it('reads what is under way and who is up at each scrape', async () => {
    const now = { inFlight: 1, streams: 2, websockets: 3, held: 4 };
    const up = new Map([['a', true]]);
    const { series } = startMetrics({
      gauges: {
        inFlight: () => now.inFlight,
        streams: () => now.streams,
        websockets: () => now.websockets,
        held: () => now.held,
      },
      upstreamUp: () => up,
    });
    const first = await series();
    expect(first.get('litellm_sidecar_requests_in_flight')).toBe(1);
    expect(first.get('litellm_sidecar_streams_in_flight')).toBe(2);
    expect(first.get('litellm_sidecar_websockets_in_flight')).toBe(3);
    expect(first.get('litellm_sidecar_requests_held')).toBe(4);
    expect(first.get('litellm_sidecar_upstream_up{slot="a"}')).toBe(1);
    now.inFlight = 7;
    up.delete('a');
    up.set('b', false);
    const second = await series();
    expect(second.get('litellm_sidecar_requests_in_flight')).toBe(7);
    expect(second.has('litellm_sidecar_upstream_up{slot="a"}')).toBe(false);
    expect(second.get('litellm_sidecar_upstream_up{slot="b"}')).toBe(0);
  });
});

describe('rendering', () => {
  it('is cached for a second, and shared by those who ask meanwhile', async () => {
    const metrics = startMetrics();
    const first = metrics.render();
    metrics.events.onExchangeEnd(exchange());
    metrics.time.ms = 999;
    expect(metrics.render()).toBe(first);
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
