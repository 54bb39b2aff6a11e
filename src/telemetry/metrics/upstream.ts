import type { Registry } from 'prom-client';
import type { RetryKind, TrafficEvents, UpstreamErrorKind } from '../../proxy/record.ts';
import { createCounters } from './counter.ts';
import { PREFIX } from './family.ts';
import { Gauge } from './prom-client.ts';

// Records, so that a kind that is added to the union does not compile until it stands here.
const ERROR_KINDS: Record<UpstreamErrorKind, true> = {
  connect: true,
  reset: true,
  timeout: true,
  protocol: true,
  aborted: true,
};
const RETRY_KINDS: Record<RetryKind, true> = {
  reused_connection: true,
  other_key: true,
};

/** LiteLLM as it is seen: `up` gives each slot's name and whether it answers. */
export const createUpstream = (
  registry: Registry,
  up: () => ReadonlyMap<string, boolean>,
): Pick<TrafficEvents, 'onRetry' | 'onUpstreamError'> => {
  new Gauge({
    name: `${PREFIX}upstream_up`,
    help: 'Whether the LiteLLM of a slot answers.',
    labelNames: ['slot'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [slot, isUp] of up()) this.set({ slot }, isUp ? 1 : 0);
    },
  });
  const errors = createCounters(registry, {
    name: 'upstream_errors_total',
    help: 'Times that LiteLLM could not be asked or broke off.',
    label: 'kind',
    values: Object.keys(ERROR_KINDS) as UpstreamErrorKind[],
  });
  const retries = createCounters(registry, {
    name: 'upstream_retries_total',
    help: 'Requests that were sent to LiteLLM again.',
    label: 'kind',
    values: Object.keys(RETRY_KINDS) as RetryKind[],
  });
  return { onRetry: retries.increment, onUpstreamError: errors.increment };
};
