import type { Probe } from '../litellm/probe.ts';
import type { SlotName } from '../litellm/slots.ts';
import type { Secret } from '../secret.ts';
import { type Connections, createConnections } from './connections.ts';
import type { ForwardRules, RequestRules } from './headers.ts';
import { createHold, type Hold } from './hold.ts';
import { createLiveKeys, type KeyRank, type LiveKeys } from './live-keys.ts';
import { type AskUpgrade, createWebSocketUpstream } from './websocket-upstream.ts';

/** One LiteLLM, from when traffic may go there until its slot is ended. */
export interface Upstream {
  readonly name: SlotName;
  readonly rules: ForwardRules;
  readonly connections: Connections;
  readonly hold: Hold;
  readonly askUpgrade: AskUpgrade;
  readonly keys: LiveKeys;
  readonly probe: Probe;
  /** Nothing new may go there, not even what belongs to it. */
  ended: boolean;
  /** Whether it answers, as far as traffic and probe know. */
  isUp(): boolean;
  /** Lets go of its connections; what is under way on them is cut. */
  close(): void;
}

/** What all upstreams of a sidecar have in common. */
export interface UpstreamOptions {
  readonly rules: RequestRules;
  /** Milliseconds; 0: no limit. */
  readonly connectTimeoutMs: number;
  /** How long one waits at most, milliseconds; 0: nobody waits. */
  readonly holdMs: number;
  /** How many wait at most. */
  readonly holdMost: number;
  readonly elapsed: () => number;
  /** Asks whether a LiteLLM that was away takes connections again. */
  readonly canConnect: (origin: URL) => Promise<boolean>;
  /** @param knownUp somebody has just heard it answer */
  readonly startProbe: (name: SlotName, origin: URL, knownUp: boolean) => Probe;
  /** LiteLLM took one of two live keys. */
  readonly onKeyAccepted: (rank: KeyRank) => void;
}

export function createUpstream(
  { name, origin, key, knownUp }: { name: SlotName; origin: URL; key: Secret; knownUp: boolean },
  options: UpstreamOptions,
): Upstream {
  const { rules, connectTimeoutMs, elapsed } = options;
  const probe = options.startProbe(name, origin, knownUp);
  const hold = createHold({
    holdMs: options.holdMs,
    most: options.holdMost,
    elapsed,
    canConnect: () => options.canConnect(origin),
    onChange: () => probe.wake(),
  });
  const connections = createConnections({ origin: origin.origin, connectTimeoutMs, elapsed });
  return {
    name,
    rules: { ...rules, host: rules.publicUrl?.host ?? origin.host },
    connections,
    hold,
    askUpgrade: createWebSocketUpstream({ upstream: origin, connectTimeoutMs }),
    keys: createLiveKeys(key, {
      keyHeader: rules.keyHeader,
      elapsed,
      onAccepted: options.onKeyAccepted,
    }),
    probe,
    ended: false,
    isUp: () => probe.up() && !hold.away(),
    close() {
      probe.stop();
      hold.close();
      connections.destroy();
    },
  };
}
