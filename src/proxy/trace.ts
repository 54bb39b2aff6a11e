import { randomFillSync } from 'node:crypto';
import type { Head } from './head.ts';

/**
 * The trace that a request belongs to (W3C Trace Context, https://www.w3.org/TR/trace-context/).
 * The sidecar makes no span of its own: nobody would collect it, and LiteLLM's span would hang on a
 * parent that no tracing system has. So what a client says is passed on byte for byte, and LiteLLM
 * is the child of the client's own span.
 */
export interface Trace {
  /** 32 hex digits; '': there is no trace. */
  readonly id: string;
  /** What LiteLLM gets as `traceparent`; '': nothing. */
  readonly parent: string;
  /** Whether the client said it; then its `tracestate` belongs to it. */
  readonly isClients: boolean;
}

/** §3.2.2: of version `00` the length is known, and a later one may have more behind its flags. */
const VERSION = /(?:00-(?=.{52}$)|(?!00|ff)[0-9a-f]{2}-)/;
const IDS = /(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}/;
const TRACEPARENT = new RegExp(`^${VERSION.source}${IDS.source}-[0-9a-f]{2}(?:-.*)?$`);

/** The trace id that a client says; '' where it says none, or an invalid one, or several. */
export function clientTraceId({ traceparent, repeated, connectionOptions }: Head): string {
  if (traceparent === undefined || repeated.has('traceparent')) return '';
  // RFC 9110 §7.6.1: it was meant for this hop alone.
  if (connectionOptions.includes('traceparent')) return '';
  return TRACEPARENT.exec(traceparent)?.[1] ?? '';
}

/** No trace: LiteLLM begins one by itself where it traces. */
const NO_TRACE: Trace = { id: '', parent: '', isClients: false };

/**
 * The trace of a request that is sent on: its client's, or else a new one.
 *
 * @param begins whether the sidecar begins one where the client has none
 */
export function traceOf(head: Head, begins: boolean): Trace {
  const id = clientTraceId(head);
  if (id !== '') return { id, parent: head.traceparent ?? '', isClients: true };
  return begins ? newTrace() : NO_TRACE;
}

/** Bytes of a trace id and of a span id. */
const ID_BYTES = 16 + 8;
/** A call of the random generator costs about as much as the rest of a trace. */
const pool = Buffer.alloc(256 * ID_BYTES);
let poolAt = pool.length;

/**
 * Flagged as sampled: by default OpenTelemetry follows its parent's flag, so that with `00` a
 * LiteLLM that traces would trace nothing any more.
 */
function newTrace(): Trace {
  if (poolAt === pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  const digits = pool.toString('hex', poolAt, poolAt + ID_BYTES);
  poolAt += ID_BYTES;
  const id = digits.slice(0, 32);
  return { id, parent: `00-${id}-${digits.slice(32)}-01`, isClients: false };
}
