import { describe, expect, it } from 'vitest';
import { exchange } from './exchange.ts';
import { startMetrics } from './start-metrics.ts';

describe('what is counted', () => {
  it('begins at 0 where a route may fail, so that the first failure is an increase', async () => {
    const { events, series } = startMetrics();
    events.onExchangeEnd(exchange());
    const failures = (at: ReadonlyMap<string, number>, client: string) =>
      [500, 502, 503, 504].map((status) =>
        at.get(
          `litellm_sidecar_requests_total{client="${client}",route="chat",method="POST",status="${status}"}`,
        ),
      );
    expect(failures(await series(), 'master')).toEqual([0, 0, 0, 0]);
    events.onExchangeEnd(exchange({ status: 502 }));
    events.onExchangeEnd(exchange({ client: '-', status: 401 }));
    const at = await series();
    expect(failures(at, 'master')).toEqual([0, 1, 0, 0]);
    // Of those who have no key nobody asks for a rate of failures.
    expect(failures(at, '-')).toEqual([undefined, undefined, undefined, undefined]);
  });

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
