import type { Attempt, AttemptOwner } from './attempt.ts';
import { isSuccess } from './record.ts';

const MOST_SESSIONS = 10_000;
/** Characters. LiteLLM's have 32; nobody fills this memory with longer ones. */
const LONGEST_ID = 200;
const IN_USE_MS = 5 * 60_000;

export type McpSessions<Owner> = ReturnType<typeof createMcpSessions<Owner>>;

/**
 * Which LiteLLM issued which MCP session: a session lives in the memory of that LiteLLM alone.
 * Bounded: where there are too many, the one that was not used for longest is forgotten.
 *
 * @param options.elapsed the monotonic clock, milliseconds
 */
export function createMcpSessions<Owner>(options: { elapsed: () => number }) {
  /** In the order of use: the one used last stands last. */
  const sessions = new Map<string, { readonly owner: Owner; usedAt: number }>();

  const put = (id: string, owner: Owner): void => {
    sessions.delete(id);
    sessions.set(id, { owner, usedAt: options.elapsed() });
    if (sessions.size <= MOST_SESSIONS) return;
    for (const [oldest] of sessions) {
      sessions.delete(oldest);
      return;
    }
  };

  return {
    /** Undefined: the session is not known. */
    ownerOf(id: string): Owner | undefined {
      const owner = sessions.get(id)?.owner;
      if (owner !== undefined) put(id, owner);
      return owner;
    },
    /** The session was issued by this LiteLLM, or first seen while this one was active. */
    learn(id: string, owner: Owner): void {
      if (id.length <= LONGEST_ID) put(id, owner);
    },
    forget: (id: string) => void sessions.delete(id),
    forgetAllOf(gone: Owner): void {
      for (const [id, { owner }] of sessions) if (owner === gone) sessions.delete(id);
    },
    /** How many of an owner's were used within the last five minutes; none of nobody's. */
    countOf(wanted: Owner | undefined): number {
      if (wanted === undefined) return 0;
      const since = options.elapsed() - IN_USE_MS;
      let count = 0;
      for (const { owner, usedAt } of sessions.values()) {
        if (owner === wanted && usedAt >= since) count++;
      }
      return count;
    },
  };
}

export const SESSION_HEADER = 'mcp-session-id';

/**
 * The old transport (mcp.server.sse): `GET /mcp/sse` streams, and its first event says where the
 * client posts its messages: `/mcp/sse/messages?session_id=` and 32 hex digits.
 */
const MESSAGES = /\/sse\/messages\/?\?(.*)$/;
const STREAM = /\/sse\/?(?:\?|$)/;
const ENDPOINT = /[?&]session_id=([0-9a-f]{32})/;
/** Bytes of that stream in which the first event stands. */
const ENDPOINT_WITHIN = 1024;

/** The session that a request on an MCP route belongs to; a header goes before the query. */
export function sessionOf(header: string | undefined, target: string): string | undefined {
  if (header !== undefined && header !== '') return header;
  const query = MESSAGES.exec(target)?.[1];
  if (query === undefined) return undefined;
  // The last one counts at LiteLLM (starlette.datastructures), which reads it as a UUID.
  const id = new URLSearchParams(query).getAll('session_id').at(-1);
  return id?.replaceAll('-', '').toLowerCase();
}

/** What names a session in a request on an MCP route, and what becomes of the session. */
interface McpRequest {
  readonly method: string;
  /** Path and query, as they are sent. */
  readonly target: string;
  readonly session: string | undefined;
}

/** Listens to the answer of a request on an MCP route, to learn which LiteLLM has which session. */
export class McpAnswer<Owner> implements AttemptOwner {
  readonly #listener: AttemptOwner;
  readonly #sessions: McpSessions<Owner>;
  readonly #upstream: Owner;
  readonly #asked: McpRequest;
  /** The beginning of an event stream; undefined: nothing is looked for. */
  #beginning: string | undefined;
  /** A session of the old transport ends with its stream. */
  #streamed: string | undefined;

  constructor(
    listener: AttemptOwner,
    sessions: McpSessions<Owner>,
    upstream: Owner,
    asked: McpRequest,
  ) {
    this.#listener = listener;
    this.#sessions = sessions;
    this.#upstream = upstream;
    this.#asked = asked;
  }

  onAnswerHead(status: number, statusText: string, raw: readonly Buffer[]): void {
    const { method, target, session } = this.#asked;
    const taken = isSuccess(status);
    const issued = sessionIn(raw);
    if (method === 'DELETE' && session !== undefined) {
      if (taken || status === 404) this.#sessions.forget(session);
    } else if (taken && issued !== undefined) {
      this.#sessions.learn(issued, this.#upstream);
    } else if (taken && method === 'GET' && STREAM.test(target)) {
      this.#beginning = '';
    }
    this.#listener.onAnswerHead(status, statusText, raw);
  }

  onAnswerData(chunk: Buffer): boolean {
    if (this.#beginning !== undefined) this.#lookForEndpoint(this.#beginning, chunk);
    return this.#listener.onAnswerData(chunk);
  }

  onAnswerEnd(rawTrailers: readonly (Buffer | string)[]): void {
    this.#forgetStreamed();
    this.#listener.onAnswerEnd(rawTrailers);
  }

  onAttemptError(attempt: Attempt, error: Error): void {
    this.#forgetStreamed();
    this.#listener.onAttemptError(attempt, error);
  }

  #lookForEndpoint(beginning: string, chunk: Buffer): void {
    const text = beginning + chunk.toString('latin1', 0, ENDPOINT_WITHIN);
    const id = ENDPOINT.exec(text)?.[1];
    if (id !== undefined) {
      this.#streamed = id;
      this.#sessions.learn(id, this.#upstream);
    }
    this.#beginning = id === undefined && text.length < ENDPOINT_WITHIN ? text : undefined;
  }

  #forgetStreamed(): void {
    if (this.#streamed !== undefined) this.#sessions.forget(this.#streamed);
  }
}

/** The session that an answer's head names; the fields are as undici read them. */
function sessionIn(raw: readonly Buffer[]): string | undefined {
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at];
    if (name?.length !== SESSION_HEADER.length) continue;
    if (name.toString('latin1').toLowerCase() === SESSION_HEADER) {
      return raw[at + 1]?.toString('latin1');
    }
  }
  return undefined;
}
