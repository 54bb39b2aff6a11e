import type { Upstream } from './upstream.ts';

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
