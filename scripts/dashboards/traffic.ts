// Rate, errors, first chunks and the sidecar's own share.
import { BY_JOB, dashboardJson, type Panel, quantile, rate, series, share, sum } from './panels.ts';

/** Requests whose client is known: a scanner's are no load, and their refusals no errors. */
const KNOWN = 'client!="-"';
const FAILED = `${KNOWN},status=~"5.."`;

const trafficNow: readonly Panel[] = [
  {
    title: 'Requests',
    help: 'Requests a second with a good key.',
    kind: 'stat',
    unit: 'reqps',
    queries: [[sum(rate('requests_total', KNOWN))]],
  },
  {
    title: 'Failing',
    help: 'The share of requests with a good key that are answered with a 5xx.',
    kind: 'stat',
    unit: 'percentunit',
    alarm: 0.05,
    queries: [[share(rate('requests_total', FAILED), rate('requests_total', KNOWN))]],
  },
  {
    title: 'In flight',
    help: 'Requests under way, streams and WebSockets included.',
    kind: 'stat',
    unit: 'short',
    queries: [[sum(series('requests_in_flight'))]],
  },
  {
    title: "The sidecar's share",
    help: "What of all the time that requests take is the sidecar's own, before it sends them on.",
    kind: 'stat',
    unit: 'percentunit',
    alarm: 0.05,
    queries: [[share(rate('overhead_seconds_sum'), rate('request_duration_seconds_sum'))]],
  },
  {
    title: 'LiteLLM',
    help: 'Whether a LiteLLM answers.',
    kind: 'stat',
    unit: 'short',
    words: { 0: 'down', 1: 'up' },
    queries: [[`min(max by (job, instance) (${series('upstream_up')}))`]],
  },
  {
    title: 'Alerts',
    help: 'Alerts that fire. Each has an entry in docs/monitoring.md that says what to do.',
    kind: 'stat',
    unit: 'short',
    alarm: 1,
    queries: [['count(ALERTS{alertname=~"LiteLLM.*",alertstate="firing"}) or vector(0)']],
  },
];

export const traffic = dashboardJson({
  uid: 'litellm-sidecar-traffic',
  title: 'LiteLLM sidecar: traffic',
  since: 'now-3h',
  filters: [BY_JOB],
  rows: [
    trafficNow,
    [
      {
        title: 'Requests by route',
        help: 'All that ended, refused ones included.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [[sum(rate('requests_total'), 'route'), '{{route}}']],
      },
      {
        title: 'Requests by client',
        help: 'Those without a good key are `-`.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [[sum(rate('requests_total'), 'client'), '{{client}}']],
      },
    ],
    [
      {
        title: 'Errors',
        help: '502 to 504: LiteLLM was away or broke off. 500: what LiteLLM or its provider said.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [[sum(rate('requests_total', FAILED), 'status'), '{{status}}']],
      },
      {
        title: 'Refusals by reason',
        help: 'What the sidecar refused. README has each code.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [[`${sum(rate('refusals_total'), 'reason')} > 0`, '{{reason}}']],
      },
      {
        title: 'Broken off',
        help: 'LiteLLM that could not be asked, by why; requests sent again; clients that left.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [
          [sum(rate('upstream_errors_total'), 'kind'), 'LiteLLM: {{kind}}'],
          [sum(rate('upstream_retries_total'), 'kind'), 'again: {{kind}}'],
          [sum(rate('client_aborts_total')), 'client left'],
        ],
      },
    ],
    [
      {
        title: 'First chunk by model',
        help: 'Of streams: from the request to the first chunk. Half are faster than p50, one in twenty is slower than p95.',
        kind: 'lines',
        unit: 's',
        queries: [
          [quantile(0.5, 'time_to_first_chunk_seconds', 'model'), '{{model}} p50'],
          [quantile(0.95, 'time_to_first_chunk_seconds', 'model'), '{{model}} p95'],
        ],
      },
      {
        title: 'Time per chunk by model',
        help: 'Of streams: the mean time from one chunk to the next.',
        kind: 'lines',
        unit: 's',
        queries: [
          [quantile(0.5, 'time_per_output_chunk_seconds', 'model'), '{{model}} p50'],
          [quantile(0.95, 'time_per_output_chunk_seconds', 'model'), '{{model}} p95'],
        ],
      },
      {
        title: 'What became of requests, by model',
        help: '429 is the provider that is asked too often; cut is an answer that broke off.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [[sum(rate('model_requests_total'), 'model, outcome'), '{{model}} {{outcome}}']],
      },
    ],
    [
      {
        title: 'Duration by route, p95',
        help: 'From the request to the end of its answer.',
        kind: 'lines',
        unit: 's',
        queries: [[quantile(0.95, 'request_duration_seconds', 'route'), '{{route}}']],
      },
      {
        title: 'First byte by route, p95',
        help: 'From the request to the head of its answer.',
        kind: 'lines',
        unit: 's',
        queries: [[quantile(0.95, 'time_to_first_byte_seconds', 'route'), '{{route}}']],
      },
      {
        title: "Beside the model's time, p95",
        help: "First byte less what LiteLLM says its model took: upload, network, LiteLLM's own share, and the wait for one that was away.",
        kind: 'lines',
        unit: 's',
        queries: [[quantile(0.95, 'upstream_wait_seconds', 'route'), '{{route}}']],
      },
    ],
    [
      {
        title: 'In flight',
        help: 'What is under way; held are those that wait for LiteLLM to come back.',
        kind: 'lines',
        unit: 'short',
        queries: [
          [sum(series('requests_in_flight')), 'requests'],
          [sum(series('streams_in_flight')), 'streams'],
          [sum(series('websockets_in_flight')), 'WebSockets'],
          [sum(series('requests_held')), 'held'],
        ],
      },
      {
        title: "The sidecar's own time",
        help: 'What it takes before it sends a request on.',
        kind: 'lines',
        unit: 's',
        queries: [
          [quantile(0.5, 'overhead_seconds'), 'p50'],
          [quantile(0.99, 'overhead_seconds'), 'p99'],
        ],
      },
      {
        title: 'Bytes',
        help: 'Of bodies, in and out.',
        kind: 'lines',
        unit: 'Bps',
        queries: [
          [sum(rate('request_bytes_total')), 'requests'],
          [sum(rate('response_bytes_total')), 'answers'],
        ],
      },
      {
        title: 'The process',
        help: 'Memory that the sidecar holds.',
        kind: 'lines',
        unit: 'bytes',
        queries: [
          ['sum by (instance) (process_resident_memory_bytes{job=~"$job"})', '{{instance}}'],
        ],
      },
    ],
  ],
});
