import { describe, expect, it } from 'vitest';
import { openMetricsOf, prefersOpenMetrics } from '../../src/telemetry/exposition.ts';
import { exchange } from './exchange.ts';
import { startMetrics } from './start-metrics.ts';

const OPEN = 'application/openmetrics-text';
/** What Prometheus 2.42 and 3.5 send. */
const PROMETHEUS_2 = `${OPEN};version=1.0.0,${OPEN};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1`;
const PROMETHEUS_3 = `${OPEN};version=1.0.0;escaping=allow-utf-8;q=0.5,${OPEN};version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1`;

describe('who gets OpenMetrics', () => {
  it.each([
    PROMETHEUS_2,
    PROMETHEUS_3,
    OPEN,
    `${OPEN}; version="1.0.0"; charset=utf-8`,
    `text/plain;q=0.5, ${OPEN.toUpperCase()};q=0.5`,
    `${OPEN};q=0.001`,
    `${OPEN};q=nonsense`,
  ])('%s', (accept) => expect(prefersOpenMetrics(accept)).toBe(true));

  it.each([
    undefined,
    '',
    '*/*',
    'text/plain',
    `${OPEN};q=0`,
    `${OPEN};version=0.0.1`,
    `${OPEN};version=2.0.0`,
    `${OPEN};q=0.4, text/plain;q=0.5`,
    `${OPEN};q=0.4, */*`,
    `x${OPEN}`,
    `${OPEN}x`,
  ])('not %s', (accept) => expect(prefersOpenMetrics(accept)).toBe(false));
});

describe('OpenMetrics', () => {
  it('names counters without _total where their samples have it, and ends in EOF', () => {
    const text = [
      ...['# HELP a_total Counts.', '# TYPE a_total counter', 'a_total{b="c_total "} 1'],
      ...['', '# HELP h_seconds Took.', '# TYPE h_seconds histogram'],
      ...['h_seconds_bucket{le="10",r="1"} 2', 'h_seconds_bucket{le="0.5",r="1"} 2'],
      ...['h_seconds_bucket{r="1",le="+Inf"} 3', 'h_seconds_sum 3', 'h_seconds_count 3', ''],
    ].join('\n');
    expect(openMetricsOf(text).split('\n')).toEqual([
      ...['# HELP a Counts.', '# TYPE a counter', 'a_total{b="c_total "} 1'],
      ...['# HELP h_seconds Took.', '# TYPE h_seconds histogram'],
      ...['h_seconds_bucket{le="10.0",r="1"} 2', 'h_seconds_bucket{le="0.5",r="1"} 2'],
      ...['h_seconds_bucket{r="1",le="+Inf"} 3', 'h_seconds_sum 3', 'h_seconds_count 3'],
      ...['# EOF', ''],
    ]);
  });

  it('has what the text has, whose families fit both', async () => {
    const { events, answer } = startMetrics();
    events.onExchangeEnd(exchange({ model: 'a "model"' }));
    const open = await answer(PROMETHEUS_2);
    const text = await answer('text/plain');
    expect(open.type).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    expect(text.type).toBe('text/plain; version=0.0.4; charset=utf-8');
    const samples = (body: string) =>
      body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(samples(open.body.replace(/(le="\d+)\.0"/g, '$1"'))).toEqual(samples(text.body));
    // What `openMetricsOf` relies on.
    const lines = text.body.split('\n');
    const counters = lines.filter((line) => /^# TYPE \S+ counter$/.test(line));
    expect(counters.filter((line) => !line.endsWith('_total counter'))).toEqual([]);
    expect(lines.filter((line) => /^# TYPE \S+_total (?!counter)/.test(line))).toEqual([]);
    expect(lines.filter((line) => /^# HELP .*["\\]/.test(line))).toEqual([]);
  });

  it('is rendered once a second, together with the text', async () => {
    const { events, answer, time } = startMetrics();
    const first = await answer(OPEN);
    events.onExchangeEnd(exchange());
    time.ms = 999;
    expect((await answer(OPEN)).body).toBe(first.body);
    time.ms = 1000;
    const text = await answer(undefined);
    const open = await answer(OPEN);
    for (const { body } of [text, open]) {
      expect(body).toContain('litellm_sidecar_request_bytes_total 1024\n');
    }
  });
});
