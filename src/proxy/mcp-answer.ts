import type { Attempt, AttemptOwner } from './attempt.ts';
import type { McpSessions, Upstream } from './upstreams.ts';

/** What names a session in a request on an MCP route, and what becomes of it. */
export interface McpRequest {
  readonly method: string;
  /** As it is sent: path and query. */
  readonly target: string;
  readonly session: string | undefined;
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

/** Listens to the answer of a request on an MCP route, to learn which LiteLLM has which session. */
export class McpAnswer implements AttemptOwner {
  readonly #owner: AttemptOwner;
  readonly #sessions: McpSessions;
  readonly #upstream: Upstream;
  readonly #it: McpRequest;
  /** The beginning of an event stream; undefined: nothing is looked for. */
  #beginning: string | undefined;
  /** It lives as long as its stream. */
  #streamed: string | undefined;

  constructor(owner: AttemptOwner, sessions: McpSessions, upstream: Upstream, it: McpRequest) {
    this.#owner = owner;
    this.#sessions = sessions;
    this.#upstream = upstream;
    this.#it = it;
  }

  onAnswerHead(status: number, statusText: string, raw: readonly Buffer[]): void {
    const { method, target, session } = this.#it;
    const taken = status >= 200 && status < 300;
    const issued = fieldOf(raw, SESSION_HEADER);
    if (method === 'DELETE' && session !== undefined) {
      if (taken || status === 404) this.#sessions.forget(session);
    } else if (taken && issued !== undefined) {
      this.#sessions.learn(issued, this.#upstream);
    } else if (taken && method === 'GET' && STREAM.test(target)) {
      this.#beginning = '';
    }
    this.#owner.onAnswerHead(status, statusText, raw);
  }

  onAnswerData(chunk: Buffer): boolean {
    if (this.#beginning !== undefined) this.#read(chunk);
    return this.#owner.onAnswerData(chunk);
  }

  onAnswerEnd(rawTrailers: readonly (Buffer | string)[]): void {
    this.#forgetStreamed();
    this.#owner.onAnswerEnd(rawTrailers);
  }

  onAttemptError(attempt: Attempt, error: Error): void {
    this.#forgetStreamed();
    this.#owner.onAttemptError(attempt, error);
  }

  #read(chunk: Buffer): void {
    const text = this.#beginning + chunk.toString('latin1', 0, ENDPOINT_WITHIN);
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

function fieldOf(raw: readonly Buffer[], wanted: string): string | undefined {
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at];
    if (name?.length !== wanted.length) continue;
    if (name.toString('latin1').toLowerCase() === wanted) return raw[at + 1]?.toString('latin1');
  }
  return undefined;
}
