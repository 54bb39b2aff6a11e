import type { Probe } from '../litellm/probe.ts';
import type { SlotLoad, SlotName } from '../litellm/slots.ts';
import type { Secret } from '../secret.ts';
import { createConnections } from './connections.ts';
import type { Exchanges } from './exchanges.ts';
import type { ForwardRules, RequestRules } from './headers.ts';
import { createHold } from './hold.ts';
import { createMcpSessions, type McpSessions } from './mcp-sessions.ts';
import { createLiveKeys, type KeyRank } from './upstream-keys.ts';
import { createUpgrader } from './websocket.ts';

/** One LiteLLM, from when traffic may go there until its slot is ended. */
export type Upstream = NonNullable<ReturnType<typeof openUpstream>>;

/** The LiteLLMs that traffic may go to: one at rest, two while one is drained. No verb throws. */
export interface Upstreams {
  /** Where new requests go. */
  readonly active: Upstream;
  readonly sessions: McpSessions<Upstream>;
  /** Every LiteLLM that traffic may go to, the active one too. */
  all(): readonly Upstream[];
  /**
   * Where a request goes that is about to be sent. An MCP session stays with the LiteLLM that has
   * it, as long as that is there.
   */
  pick(session: string | undefined): Upstream;
  /** Whether a request may stay with a LiteLLM for its next try. */
  mayStay(upstream: Upstream): boolean;
  /** How many requests wait because LiteLLM is away. */
  held(): number;
  /**
   * New requests go to this slot from now on, with this key; what waits for another one goes there
   * too. Its LiteLLM counts as up until its probe says otherwise: whoever switches has verified it.
   */
  switchTo(slot: SlotName, key: Secret): void;
  load(slot: SlotName): SlotLoad;
  /**
   * Ends what is left on a slot that is not active: WebSockets with 1001, then all. Resolves to how
   * many were cut.
   */
  end(slot: SlotName): Promise<number>;
  /** Whether LiteLLM answers there; false for a slot that no traffic goes to. */
  isUp(slot: SlotName): boolean;
  /**
   * Requests to the active one carry `first`; what LiteLLM refuses for it is sent again with
   * `second`, if any.
   */
  useKeys(first: Secret, second: Secret | undefined): void;
  close(): void;
}

interface UpstreamsOptions {
  /** Where each slot's LiteLLM listens. */
  readonly origins: ReadonlyMap<SlotName, URL>;
  /** The slot that is active at the start, and its key. */
  readonly active: SlotName;
  readonly key: Secret;
  readonly exchanges: Pick<Exchanges, 'countOn' | 'end'>;
  readonly rules: RequestRules;
  /** Milliseconds; 0: no limit. */
  readonly connectTimeoutMs: number;
  /** How long a request waits at most, milliseconds; 0: none waits. */
  readonly holdMs: number;
  /** How many requests wait at most for one LiteLLM. */
  readonly holdMost: number;
  /** The monotonic clock, milliseconds. */
  readonly elapsed: () => number;
  /** Asks whether a LiteLLM that was away takes connections again. */
  readonly canConnect: (origin: URL) => Promise<boolean>;
  /** @param knownUp somebody has just heard this LiteLLM answer */
  readonly startProbe: (name: SlotName, origin: URL, knownUp: boolean) => Probe;
  /** LiteLLM took one of two live keys. */
  readonly onKeyAccepted: (rank: KeyRank) => void;
}

/** @throws RangeError where the slot that is active at the start has no origin */
export function createUpstreams(options: UpstreamsOptions): Upstreams {
  const sessions = createMcpSessions<Upstream>(options);
  const first = openUpstream(options.active, options.key, false, options);
  if (first === undefined) throw new RangeError(`slot ${options.active} has no address`);
  const bySlot = new Map([[first.name, first]]);
  let active = first;

  const mayStay = (upstream: Upstream): boolean =>
    upstream === active || !(upstream.ended || upstream.hold.away());

  return {
    get active() {
      return active;
    },
    sessions,
    all: () => [...bySlot.values()],
    pick(session) {
      if (session === undefined) return active;
      const owner = sessions.ownerOf(session);
      if (owner !== undefined && mayStay(owner)) return owner;
      sessions.learn(session, active);
      return active;
    },
    mayStay,
    held: () => [...bySlot.values()].reduce((sum, { hold }) => sum + hold.size(), 0),
    switchTo(slot, key) {
      const known = bySlot.get(slot);
      known?.keys.use(key, undefined);
      const next = known ?? openUpstream(slot, key, true, options);
      if (next === undefined) return;
      bySlot.set(slot, next);
      next.ended = false;
      active = next;
      for (const other of bySlot.values()) if (other !== next) other.hold.releaseAll();
    },
    load: (slot) => ({
      ...options.exchanges.countOn(slot),
      mcpSessions: sessions.countOf(bySlot.get(slot)),
    }),
    async end(slot) {
      const upstream = bySlot.get(slot);
      if (upstream === undefined || upstream === active) return 0;
      upstream.ended = true;
      sessions.forgetAllOf(upstream);
      // A LiteLLM that traffic is switched back to in the meantime keeps what it has.
      const isOver = (): boolean => upstream !== active;
      const cut = await options.exchanges.end((live) => live.slot === slot && isOver());
      if (!isOver()) return cut;
      bySlot.delete(slot);
      sessions.forgetAllOf(upstream);
      upstream.close();
      return cut;
    },
    isUp: (slot) => bySlot.get(slot)?.isUp() ?? false,
    useKeys: (one, two) => active.keys.use(one, two),
    close() {
      for (const upstream of bySlot.values()) upstream.close();
    },
  };
}

/** @returns undefined where nobody says where the slot's LiteLLM listens */
function openUpstream(name: SlotName, key: Secret, knownUp: boolean, options: UpstreamsOptions) {
  const origin = options.origins.get(name);
  if (origin === undefined) return undefined;
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
    origin,
    rules: { ...rules, host: rules.publicUrl?.host ?? origin.host } satisfies ForwardRules,
    connections,
    hold,
    askUpgrade: createUpgrader({ origin, connectTimeoutMs }),
    keys: createLiveKeys(key, {
      keyHeader: rules.keyHeader,
      elapsed,
      onAccepted: options.onKeyAccepted,
    }),
    probe,
    /** Nothing new may go there, not even a request of a session that it issued. */
    ended: false,
    /** Whether it answers, as far as traffic and probe know. */
    isUp: () => probe.up() && !hold.away(),
    /** Lets go of its connections; what is under way on them is cut. */
    close(): void {
      probe.stop();
      hold.close();
      connections.destroy();
    },
  };
}
