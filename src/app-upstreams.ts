import type { AppOptions } from './app-base.ts';
import { canConnect } from './litellm/ask.ts';
import { createProbe } from './litellm/probe.ts';
import type { SlotName } from './litellm/slots.ts';
import type { Exchanges } from './proxy/exchanges.ts';
import type { KeyRank } from './proxy/upstream-keys.ts';
import { createUpstreams, type Upstreams } from './proxy/upstreams.ts';
import type { Secret } from './secret.ts';

/** Where traffic goes at the start. */
export interface UpstreamStart {
  readonly active: SlotName;
  /** What the LiteLLM of that slot runs with. */
  readonly key: Secret;
  /** LiteLLM took one of two live keys; told as `LiveKeys` says. */
  readonly onKeyAccepted?: (rank: KeyRank) => void;
}

/** Milliseconds: what a check of the connection may take while requests wait for it. */
const RECONNECT_TIMEOUT_MS = 1000;

/** The slots of which a launcher is told, or the one LiteLLM of somebody else's, as slot `a`. */
function originsIn({ upstreams: [a, b], slots }: AppOptions['config']): Map<SlotName, URL> {
  const origins = new Map<SlotName, URL>([['a', a]]);
  if (slots !== undefined && b !== undefined) origins.set('b', b);
  return origins;
}

/** The LiteLLMs that traffic may go to, each with a probe of its own. */
export function buildUpstreams(
  { config, log, clock }: AppOptions,
  exchanges: Exchanges,
  { active, key, onKeyAccepted = () => undefined }: UpstreamStart,
): Upstreams {
  const { publicUrl, keyHeader, connectTimeoutMs, holdMs, holdMax, rootPath } = config;
  return createUpstreams({
    origins: originsIn(config),
    active,
    key,
    exchanges,
    rules: { publicUrl, keyHeader },
    connectTimeoutMs,
    holdMs,
    holdMost: holdMax,
    elapsed: clock.elapsed,
    canConnect: (origin) => canConnect(origin, RECONNECT_TIMEOUT_MS),
    startProbe: (slot, origin, knownUp) =>
      createProbe({
        origin,
        rootPath,
        knownUp,
        onChange: (up) =>
          log[up ? 'info' : 'warn']({ slot }, up ? 'LiteLLM answers' : 'LiteLLM is away'),
      }),
    onKeyAccepted,
  });
}
