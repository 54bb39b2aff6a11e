import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Decision } from './decide.ts';
import type { CallerRecord, TrafficEvents } from './exchange-record.ts';
import type { Exchanges } from './exchanges.ts';
import type { Upload } from './upload.ts';
import type { Upstreams } from './upstreams.ts';

/** What all exchanges share. */
export interface ExchangeContext {
  readonly upstreams: Upstreams;
  readonly exchanges: Exchanges;
  readonly events: TrafficEvents;
  readonly elapsed: () => number;
  /** Milliseconds; 0: no limit. */
  readonly answerTimeoutMs: number;
  readonly uploadIdleMs: number;
}

/** One admitted request. */
export interface ExchangeRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly decision: Extract<Decision, { kind: 'forward' }>;
  readonly method: Dispatcher.HttpMethod;
  /** The fields LiteLLM gets: name, value, name, value; `addressTo` completes them. */
  readonly headers: string[];
  /** The MCP session that it belongs to. */
  readonly session: string | undefined;
  /** Undefined: the request has no body. */
  readonly upload: Upload | undefined;
  readonly origin: string | undefined;
  readonly caller: CallerRecord;
  /** When its head was there, on the monotonic clock. */
  readonly startedAt: number;
}
