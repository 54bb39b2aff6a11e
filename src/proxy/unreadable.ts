import type { Socket } from 'node:net';
import { type Refusal, type RefusalCode, refusal, statusOf } from '../refusal.ts';
import { plainAddress } from './address.ts';
import { callerRecord, newRequestId } from './caller.ts';
import { UNROUTED } from './decide.ts';
import type { TrafficEvents } from './exchange-record.ts';
import { answeredHere } from './judge.ts';
import { refuseSocket } from './refuse.ts';

/**
 * Answers what could not be read as HTTP, where somebody is there to be told, and records it.
 *
 * @param code Node's word for why it could not read on
 */
export function refuseUnreadable(socket: Socket, code: string, events: TrafficEvents): void {
  const no = unreadable(code);
  if (no === undefined) {
    socket.destroy();
    return;
  }
  const requestId = newRequestId();
  const address = plainAddress(socket.remoteAddress ?? '');
  const unread = { method: '-', userAgent: undefined };
  const caller = callerRecord(requestId, unread, address, { kind: 'health', route: UNROUTED });
  refuseSocket(socket, no, { dialect: 'openai', requestId, origin: undefined });
  const status = statusOf(no.code);
  events.onExchangeEnd(answeredHere(caller, { status, refusal: no.code, durationMs: 0 }));
}

/** Undefined: nobody is there to be told. */
function unreadable(code: string): Refusal | undefined {
  if (code === 'ECONNRESET' || code === 'EPIPE') return undefined;
  const codes: Record<string, [RefusalCode, string]> = {
    ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'the head of the request took too long'],
    HPE_HEADER_OVERFLOW: ['headers_too_large', 'the head of the request is too large'],
  };
  const [refused, message] = codes[code] ?? ['bad_request', 'this could not be read as HTTP/1.1'];
  return refusal(refused, message);
}
