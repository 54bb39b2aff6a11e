import type { Probe } from '../litellm/probe.ts';
import type { SlotLoad, SlotName } from '../litellm/slots.ts';
import type { Secret } from '../secret.ts';
import { type Connections, createConnections } from './connections.ts';
import type { Exchanges } from './exchanges.ts';
import type { ForwardRules, RequestRules } from './headers.ts';
import { createHold, type Hold } from './hold.ts';
import { createLiveKeys, type KeyRank, type LiveKeys } from './upstream-keys.ts';
import { type AskUpgrade, createWebSocketUpstream } from './websocket.ts';

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

/**
 * Which LiteLLM issued which MCP session: it lives in that one's memory alone. Bounded: where there
 * are too many, the one that was not used for longest is forgotten.
 */
export interface McpSessions {
  /** Undefined: nobody's that is still there. */
  ownerOf(id: string): Upstream | undefined;
  /** It was issued by this one, or first seen while this one was active. */
  learn(id: string, owner: Upstream): void;
  forget(id: string): void;
  forgetAllOf(owner: Upstream): void;
  /** Those used within the last five minutes. */
  countOf(owner: Upstream): number;
}

const MOST = 10_000;
/** Characters. LiteLLM's have 32; nobody fills this memory with longer ones. */
const LONGEST = 200;
const IDLE_MS = 5 * 60_000;

interface Session {
  readonly owner: Upstream;
  usedAt: number;
}

/** @param options.elapsed the monotonic clock, milliseconds */
export function createMcpSessions(options: { elapsed: () => number }): McpSessions {
  /** Last used last. */
  const sessions = new Map<string, Session>();

  const put = (id: string, session: Session): void => {
    sessions.delete(id);
    sessions.set(id, session);
    if (sessions.size <= MOST) return;
    for (const [oldest] of sessions) {
      sessions.delete(oldest);
      return;
    }
  };

  return {
    ownerOf(id) {
      const session = sessions.get(id);
      if (session === undefined) return undefined;
      session.usedAt = options.elapsed();
      put(id, session);
      return session.owner;
    },
    learn(id, owner) {
      if (id.length <= LONGEST) put(id, { owner, usedAt: options.elapsed() });
    },
    forget: (id) => void sessions.delete(id),
    forgetAllOf(gone) {
      for (const [id, { owner }] of sessions) if (owner === gone) sessions.delete(id);
    },
    countOf(wanted) {
      const since = options.elapsed() - IDLE_MS;
      let count = 0;
      for (const { owner, usedAt } of sessions.values()) {
        if (owner === wanted && usedAt >= since) count++;
      }
      return count;
    },
  };
}

/** The LiteLLMs that traffic may go to: one at rest, two while one is drained. No verb throws. */
export interface Upstreams {
  /** Where new requests go. */
  readonly active: Upstream;
  readonly sessions: McpSessions;
  /** Those that traffic may go to, the active one among them. */
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
   * New requests go there from now on, with this key; what waits for another one goes there too.
   * It is taken for up until its probe says otherwise: whoever switches has verified it.
   */
  switchTo(slot: SlotName, key: Secret): void;
  load(slot: SlotName): SlotLoad;
  /**
   * Ends what is left on a slot that is not active: WebSockets with 1001, then all. Resolves to how
   * many were cut.
   */
  end(slot: SlotName): Promise<number>;
  /** Whether LiteLLM answers there; false for one that no traffic goes to. */
  isUp(slot: SlotName): boolean;
  /**
   * Requests to the active one carry `first`; what LiteLLM refuses for it is sent again with
   * `second`, if any.
   */
  useKeys(first: Secret, second: Secret | undefined): void;
  close(): void;
}

export interface UpstreamsOptions extends UpstreamOptions {
  /** Where each slot's LiteLLM listens. */
  readonly origins: ReadonlyMap<SlotName, URL>;
  /** The slot that is active at the start, and its key. */
  readonly active: SlotName;
  readonly key: Secret;
  readonly exchanges: Pick<Exchanges, 'countOn' | 'end'>;
}

interface State {
  readonly options: UpstreamsOptions;
  readonly there: Map<SlotName, Upstream>;
  readonly sessions: McpSessions;
  active: Upstream;
}

/** @throws RangeError where the slot that is active at the start has no origin */
export function createUpstreams(options: UpstreamsOptions): Upstreams {
  const there = new Map<SlotName, Upstream>();
  const sessions = createMcpSessions(options);
  const first = open(options.active, options.key, false, { there, options });
  if (first === undefined) throw new RangeError(`slot ${options.active} has no address`);
  const state: State = { options, there, sessions, active: first };

  return {
    get active() {
      return state.active;
    },
    sessions,
    all: () => [...there.values()],
    pick: (session) => (session === undefined ? state.active : pickFor(session, state)),
    mayStay: (upstream) => mayStay(upstream, state),
    held: () => [...there.values()].reduce((sum, { hold }) => sum + hold.size(), 0),
    switchTo: (slot, key) => switchTo(slot, key, state),
    load(slot) {
      const upstream = there.get(slot);
      const mcpSessions = upstream === undefined ? 0 : sessions.countOf(upstream);
      return { ...options.exchanges.countOn(slot), mcpSessions };
    },
    async end(slot) {
      const upstream = there.get(slot);
      if (upstream === undefined || upstream === state.active) return 0;
      return await end(upstream, state);
    },
    isUp: (slot) => there.get(slot)?.isUp() ?? false,
    useKeys: (one, two) => state.active.keys.use(one, two),
    close() {
      for (const upstream of there.values()) upstream.close();
    },
  };
}

function open(
  name: SlotName,
  key: Secret,
  knownUp: boolean,
  { there, options }: Pick<State, 'there' | 'options'>,
): Upstream | undefined {
  const origin = options.origins.get(name);
  if (origin === undefined) return undefined;
  const opened = createUpstream({ name, origin, key, knownUp }, options);
  there.set(name, opened);
  return opened;
}

const mayStay = (upstream: Upstream, { active }: State): boolean =>
  upstream === active || !(upstream.ended || upstream.hold.away());

function pickFor(session: string, state: State): Upstream {
  const owner = state.sessions.ownerOf(session);
  if (owner !== undefined && mayStay(owner, state)) return owner;
  state.sessions.learn(session, state.active);
  return state.active;
}

function switchTo(slot: SlotName, key: Secret, state: State): void {
  const known = state.there.get(slot);
  known?.keys.use(key, undefined);
  const next = known ?? open(slot, key, true, state);
  if (next === undefined) return;
  next.ended = false;
  state.active = next;
  for (const other of state.there.values()) if (other !== next) other.hold.releaseAll();
}

async function end(upstream: Upstream, state: State): Promise<number> {
  const { sessions, there, options } = state;
  upstream.ended = true;
  sessions.forgetAllOf(upstream);
  // One that is switched to in the meantime keeps what it has.
  const isOver = (): boolean => upstream !== state.active;
  const cut = await options.exchanges.end(({ slot }) => slot === upstream.name && isOver());
  if (!isOver()) return cut;
  there.delete(upstream.name);
  sessions.forgetAllOf(upstream);
  upstream.close();
  return cut;
}
