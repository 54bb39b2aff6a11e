import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Connections } from './connections.ts';
import type { Decision } from './decide.ts';
import type { CallerRecord, TrafficEvents } from './exchange-record.ts';
import type { Exchanges } from './exchanges.ts';
import type { ForwardRules } from './headers.ts';
import type { Hold } from './hold.ts';
import type { Upload } from './upload.ts';

/** What all exchanges share. */
export interface ExchangeContext {
  readonly connections: Connections;
  readonly hold: Hold;
  readonly exchanges: Exchanges;
  readonly events: TrafficEvents;
  readonly rules: ForwardRules;
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
  /** The fields LiteLLM gets: name, value, name, value. */
  readonly headers: string[];
  /** Undefined: the request has no body. */
  readonly upload: Upload | undefined;
  readonly origin: string | undefined;
  readonly caller: CallerRecord;
  /** When its head was there, on the monotonic clock. */
  readonly startedAt: number;
}
