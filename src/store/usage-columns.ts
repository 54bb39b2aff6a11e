/** What is added up of requests: the field here, and its column in `usage.db`. */
export const USAGE_COLUMNS = {
  /** Every request that a client made, the refused ones included. */
  requests: 'requests',
  /** Of `requests`: the sidecar's own no. */
  refusals: 'refusals',
  /** Of `requests`: LiteLLM answered 4xx or 5xx, broke off, or could not be asked. */
  errors: 'errors',
  /** Of `requests`: the answer said its usage. */
  metered: 'metered',
  /** Of `requests`: the answer should have said its usage, and did not. */
  unmetered: 'unmetered',
  /** Of `metered`: LiteLLM named no price. */
  unpriced: 'unpriced',
  input: 'input_tokens',
  output: 'output_tokens',
  cached: 'cached_tokens',
  cacheWrite: 'cache_write_tokens',
  reasoning: 'reasoning_tokens',
  costUsd: 'cost_usd',
} as const;
export type UsageCounts = { readonly [Field in keyof typeof USAGE_COLUMNS]: number };
export const USAGE_FIELDS = Object.keys(USAGE_COLUMNS) as (keyof UsageCounts)[];
