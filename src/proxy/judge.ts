import type { IncomingMessage } from 'node:http';
import type { InBlocks } from './address.ts';
import { callerRecord, type Peer, peerOf, requestIdOf } from './caller.ts';
import { type Decision, decide, type Policy } from './decide.ts';
import type { CallerRecord, ExchangeRecord, TrafficEvents } from './exchange-record.ts';
import { type Head, readHead } from './head.ts';
import { tellKeyUse } from './key-use.ts';
import type { RefusalContext } from './refuse.ts';

/** A request that was read and judged, whichever way it goes on. */
export interface Judged {
  readonly head: Head;
  readonly from: Peer;
  readonly decision: Decision;
  readonly caller: CallerRecord;
  /** When its head was there, on the monotonic clock. */
  readonly startedAt: number;
}

export type Judge = (request: IncomingMessage, websocket: boolean) => Judged;

export function createJudge(options: {
  /** Read once a request: an immutable snapshot. */
  policy: () => Policy;
  isTrustedProxy: InBlocks;
  /** Told of a known key at once: a stream may take ten minutes. */
  events: TrafficEvents;
  elapsed: () => number;
}): Judge {
  return (request, websocket) => {
    const startedAt = options.elapsed();
    const head = readHead(request);
    const from = peerOf(request, head, options.isTrustedProxy);
    const decision = decide(head, { address: from.address, websocket }, options.policy());
    const caller = callerRecord(requestIdOf(head), head, from.address, decision);
    const key = decision.kind === 'health' ? undefined : decision.generation;
    if (key !== undefined) tellKeyUse(options.events, key, caller);
    return { head, from, decision, caller, startedAt };
  };
}

export const refusalContextOf = ({ head, decision, caller }: Judged): RefusalContext => ({
  dialect: decision.route.dialect,
  requestId: caller.id,
  origin: head.origin,
});

/** The record of what was answered here at once, and never reached LiteLLM. */
export const answeredHere = (
  caller: CallerRecord,
  answer: { status: number; refusal: ExchangeRecord['refusal']; durationMs: number },
): ExchangeRecord => ({
  ...caller,
  ...answer,
  slot: '-',
  outcome: 'answered',
  websocket: false,
  model: '',
  firstByteMs: answer.durationMs,
  overheadMs: -1,
  requestBytes: 0,
  responseBytes: 0,
});
