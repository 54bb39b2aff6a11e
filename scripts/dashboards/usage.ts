// Tokens and cost by client and model.
import { BY_JOB, dashboardJson, grew, type Panel, rate, series, share, sum } from './panels.ts';

/** What a reader of the usage chose. */
const CHOSEN = 'client=~"$client",model=~"$model"';
const MISSING = share(
  grew('usage_missing_total'),
  grew('model_requests_total', 'outcome=~"ok|cut"'),
);

const spent = (title: string, since: 'now/d' | 'now/M'): Panel => ({
  title,
  help: 'What LiteLLM says that answers cost. `sidecar usage` has it to the cent, across gaps of Prometheus.',
  kind: 'stat',
  unit: 'currencyUSD',
  since,
  queries: [[sum(grew('cost_usd_total', CHOSEN))]],
});
const used = (title: string, since: 'now/d' | 'now/M'): Panel => ({
  title,
  help: 'Tokens that were read and written.',
  kind: 'stat',
  unit: 'short',
  since,
  queries: [[sum(grew('tokens_total', `${CHOSEN},type=~"input|output"`))]],
});

const dollars = (by: string): Panel => ({
  title: `Cost by ${by}`,
  help: 'US dollars an hour.',
  kind: 'stacked',
  unit: 'currencyUSD',
  queries: [[`${sum(rate('cost_usd_total', CHOSEN), by)} * 3600`, `{{${by}}}`]],
});
const tokens = (by: string): Panel => ({
  title: `Tokens by ${by}`,
  help: 'Tokens a second, read and written.',
  kind: 'stacked',
  unit: 'short',
  queries: [[sum(rate('tokens_total', `${CHOSEN},type=~"input|output"`), by), `{{${by}}}`]],
});
const column = (type: string): string =>
  sum(grew('tokens_total', `${CHOSEN},type="${type}"`), 'client, model');

export const usage = dashboardJson({
  uid: 'litellm-sidecar-usage',
  title: 'LiteLLM sidecar: usage',
  since: 'now-24h',
  filters: [BY_JOB, ['client', 'model_requests_total'], ['model', 'model_requests_total']],
  rows: [
    [
      spent('Cost today', 'now/d'),
      spent('Cost this month', 'now/M'),
      used('Tokens today', 'now/d'),
      used('Tokens this month', 'now/M'),
      {
        title: 'Without usage today',
        help: 'The share of answers that did not say what they used: streams without `stream_options.include_usage`, answers that broke off. They are in no sum here.',
        kind: 'stat',
        unit: 'percentunit',
        since: 'now/d',
        alarm: 0.05,
        queries: [[MISSING]],
      },
      {
        title: 'Read from the cache',
        help: "The share of tokens that came from the provider's cache.",
        kind: 'stat',
        unit: 'percentunit',
        queries: [
          [
            share(
              grew('tokens_total', `${CHOSEN},type="cached"`),
              grew('tokens_total', `${CHOSEN},type="input"`),
            ),
          ],
        ],
      },
    ],
    [dollars('client'), dollars('model')],
    [
      {
        title: 'By client and model',
        help: 'Sums over the time range of the dashboard. Cached tokens are part of those that were read.',
        kind: 'table',
        unit: ['short', 'short', 'short', 'short', 'currencyUSD'],
        queries: [
          [sum(grew('model_requests_total', CHOSEN), 'client, model'), 'Requests'],
          [column('input'), 'Tokens read'],
          [column('cached'), 'Of these cached'],
          [column('output'), 'Tokens written'],
          [sum(grew('cost_usd_total', CHOSEN), 'client, model'), 'Cost'],
        ],
      },
    ],
    [
      tokens('client'),
      tokens('model'),
      {
        title: 'Tokens by type',
        help: 'Tokens a second. cached and cache_write are part of input, reasoning is part of output.',
        kind: 'lines',
        unit: 'short',
        queries: [[sum(rate('tokens_total', CHOSEN), 'type'), '{{type}}']],
      },
    ],
    [
      {
        title: 'Requests by model',
        help: 'Those that were sent on to LiteLLM.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [[sum(rate('model_requests_total', CHOSEN), 'model'), '{{model}}']],
      },
      {
        title: 'Answers without usage',
        help: 'By route, and why: docs/metrics.md has each reason.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [
          [`${sum(rate('usage_missing_total'), 'route, reason')} > 0`, '{{route}} {{reason}}'],
        ],
      },
    ],
    [
      {
        title: 'Used of limits',
        help: 'How much of each limit of a client is used, of the sidecar that used most of it.',
        kind: 'lines',
        unit: 'percentunit',
        alarm: 0.8,
        queries: [
          [
            `max by (client, limit) (${series('limit_used_ratio', 'client=~"$client"')})`,
            '{{client}} {{limit}}',
          ],
        ],
      },
      {
        title: 'Limits that were reached',
        help: 'Requests that were refused for it; those of the mode record were let in.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [
          [
            sum(rate('limit_reached_total', 'client=~"$client"'), 'client, limit, mode'),
            '{{client}} {{limit}} {{mode}}',
          ],
        ],
      },
    ],
  ],
});
