import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { clientAddress, type InBlocks, plainAddress } from './address.ts';
import type { Decision } from './decide.ts';
import type { CallerRecord } from './exchange-record.ts';
import type { Head } from './head.ts';

/** Where a request comes from. */
export interface Peer {
  /** The other end of the socket. */
  readonly peer: string;
  readonly trusted: boolean;
  /** The client, behind trusted proxies too. */
  readonly address: string;
}

export function peerOf(request: IncomingMessage, head: Head, isTrusted: InBlocks): Peer {
  const peer = plainAddress(request.socket.remoteAddress ?? '');
  const trusted = isTrusted(peer);
  if (!trusted) return { peer, trusted, address: peer };
  const forwardedFor = head.values.filter((_, at) => head.names[at] === 'x-forwarded-for');
  return { peer, trusted, address: clientAddress(peer, forwardedFor.join(','), isTrusted) };
}

/** What a client may name its request by: short, and harmless wherever it is printed. */
const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

export const newRequestId = (): string => randomUUID();

/** The client's own id of the request where it is usable, else a new one. */
export const requestIdOf = (head: Head): string =>
  head.requestId !== undefined && REQUEST_ID.test(head.requestId) ? head.requestId : newRequestId();

/** Characters of a user agent that are kept. */
const MOST_USER_AGENT = 200;

/** A slice would keep the whole field in memory for as long as it is remembered. */
const cutUserAgent = (text: string): string =>
  text.length <= MOST_USER_AGENT
    ? text
    : Buffer.from(text.slice(0, MOST_USER_AGENT), 'utf16le').toString('utf16le');

export function callerRecord(
  id: string,
  { method, userAgent }: Pick<Head, 'method' | 'userAgent'>,
  address: string,
  decision: Decision,
): CallerRecord {
  const generation = decision.kind === 'health' ? undefined : decision.generation;
  return {
    id,
    client: generation?.client ?? '-',
    generation: generation?.id ?? '-',
    method,
    group: decision.route.group,
    template: decision.route.template,
    address,
    userAgent: userAgent === undefined ? '' : cutUserAgent(userAgent),
  };
}
