// Keys with their age and deadline, who still uses the old ones, rotations and handovers.
import { BY_JOB, dashboardJson, grew, type Panel, rate, series, sum } from './panels.ts';

/** Dates are shown in milliseconds. */
const date = (family: string): string => `max by (client, generation) (${series(family)}) * 1000`;
/** So many times in the last minutes: what is rare is seen as a step, not as a rate. */
const events = (family: string, by: string, labels = ''): string =>
  `sum by (${by}) (increase(${series(family, labels)}[$__rate_interval]))`;

const keysNow: readonly Panel[] = [
  {
    title: 'Oldest key',
    help: 'Of the keys that are the newest of their client.',
    kind: 'stat',
    unit: 's',
    alarm: 90 * 86_400,
    queries: [['max(instance_client:litellm_sidecar_key_age_seconds:min{job=~"$job"})']],
  },
  {
    title: 'Next deadline',
    help: 'When the next retiring key ends; no data where none retires.',
    kind: 'stat',
    unit: 's',
    queries: [[`min(${series('key_deadline_timestamp_seconds')} - time())`]],
  },
  {
    title: 'Old keys used today',
    help: 'Requests with a key that is retired or revoked. Each is worth a look: sidecar audit has the address.',
    kind: 'stat',
    unit: 'short',
    since: 'now/d',
    alarm: 1,
    queries: [[`ceil(${sum(grew('tombstone_uses_total'))})`]],
  },
  {
    title: 'Places without the newest key',
    help: 'Places of SIDECAR_PUBLISH that could not be written yet; the grace of the old key waits for them.',
    kind: 'stat',
    unit: 'short',
    alarm: 1,
    queries: [[sum(series('publish_pending'))]],
  },
  {
    title: 'Stores',
    help: 'Whether the last save of keys, and of usage, succeeded.',
    kind: 'stat',
    unit: 'short',
    words: { 0: 'down', 1: 'up' },
    queries: [
      [`min(${series('store_up')})`, 'keys'],
      [`min(${series('usage_store_up')})`, 'usage'],
    ],
  },
  {
    title: 'Handover',
    help: 'The step that the handover under way is in.',
    kind: 'stat',
    unit: 'short',
    named: true,
    queries: [[`max by (state) (${series('handover_state')}) == 1`, '{{state}}']],
  },
];

export const keys = dashboardJson({
  uid: 'litellm-sidecar-keys',
  title: 'LiteLLM sidecar: keys',
  since: 'now-7d',
  filters: [BY_JOB],
  rows: [
    keysNow,
    [
      {
        title: 'Keys',
        help: 'The newest two of each client. One with a deadline retires: sidecar who names its callers.',
        kind: 'table',
        unit: ['dateTimeFromNow', 'dateTimeFromNow', 'dateTimeFromNow'],
        queries: [
          [date('key_created_timestamp_seconds'), 'Made'],
          [date('key_last_used_timestamp_seconds'), 'Last used'],
          [date('key_deadline_timestamp_seconds'), 'Ends'],
        ],
      },
      {
        title: 'Clients with an end',
        help: 'When all keys of a client end.',
        kind: 'table',
        unit: ['dateTimeFromNow'],
        queries: [
          [`max by (client) (${series('client_expires_timestamp_seconds')}) * 1000`, 'Ends'],
        ],
      },
    ],
    [
      {
        title: 'Age of the newest key',
        help: 'Falls to 0 with each rotation.',
        kind: 'lines',
        unit: 's',
        queries: [
          [
            'max by (client) (instance_client:litellm_sidecar_key_age_seconds:min{job=~"$job"})',
            '{{client}}',
          ],
        ],
      },
      {
        title: 'Until the deadline',
        help: 'How long retiring keys are still good, at the most.',
        kind: 'lines',
        unit: 's',
        queries: [[`${series('key_deadline_timestamp_seconds')} - time()`, '{{generation}}']],
      },
      {
        title: 'Who still uses a retiring key',
        help: 'Requests a second by client. sidecar who names the callers.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [[sum(rate('key_requests_total', 'state="retiring"'), 'client'), '{{client}}']],
      },
    ],
    [
      {
        title: 'Old keys that came back',
        help: 'Requests with a key that is retired or revoked.',
        kind: 'stacked',
        unit: 'short',
        queries: [[events('tombstone_uses_total', 'client, state'), '{{client}} {{state}}']],
      },
      {
        title: 'Wrong keys',
        help: 'Requests that were refused for their key, by reason.',
        kind: 'stacked',
        unit: 'reqps',
        queries: [
          [
            sum(rate('refusals_total', 'reason=~".*_key|too_many_failures"'), 'reason'),
            '{{reason}}',
          ],
        ],
      },
    ],
    [
      {
        title: 'Rotations',
        help: 'Of keys of clients, and of the key that LiteLLM runs with, by what began them.',
        kind: 'stacked',
        unit: 'short',
        queries: [
          [
            `${events('rotations_total', 'kind, trigger, outcome')} > 0`,
            '{{kind}}, {{trigger}}: {{outcome}}',
          ],
        ],
      },
      {
        title: 'Handovers',
        help: 'From one LiteLLM to another; why one was rolled back; edits of its configuration.',
        kind: 'stacked',
        unit: 'short',
        queries: [
          [`${events('handovers_total', 'kind, outcome')} > 0`, '{{kind}}: {{outcome}}'],
          [`${events('handover_faults_total', 'reason')} > 0`, 'fault: {{reason}}'],
          [`${events('config_changes_total', 'outcome')} > 0`, 'configuration: {{outcome}}'],
        ],
      },
      {
        title: 'Duration of handovers',
        help: 'The mean, from the first step to the switch.',
        kind: 'lines',
        unit: 's',
        queries: [
          [
            `${sum(rate('handover_duration_seconds_sum'), 'kind')} / ${sum(rate('handover_duration_seconds_count'), 'kind')}`,
            '{{kind}}',
          ],
        ],
      },
    ],
  ],
});
