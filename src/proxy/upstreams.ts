import type { SlotName } from '../litellm/slots.ts';
import type { Secret } from '../secret.ts';
import type { Exchanges } from './exchanges.ts';
import { createMcpSessions, type McpSessions } from './mcp-sessions.ts';
import { createUpstream, type Upstream, type UpstreamOptions } from './upstream.ts';

/** What is under way on a slot. */
export interface SlotLoad {
  /** Requests without an answer's end, streams included. */
  readonly requests: number;
  readonly websockets: number;
  /** MCP sessions that it issued and that were used lately. */
  readonly mcpSessions: number;
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
