import {
  createServer,
  type IncomingHttpHeaders,
  type RequestListener,
  type Server,
} from 'node:http';
import { isIP, type Socket } from 'node:net';
import { createWatchedClock, systemClock } from '../clock.ts';
import { networksOf, plainAddress } from '../proxy/address.ts';
import { excusePauses } from './pauses.ts';

/** Short limits for operators, probes and scrapers: their requests are short and come at once. */
const LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 3_000,
  requestTimeout: 10_000,
  connectionsCheckingInterval: 1_000,
} as const;
/** Connections that are open at most, and of those at most so many of one address. */
const MOST_OPEN = 256;
const MOST_OF_ONE = 32;

/**
 * A server for operators, probes and scrapers. Where too many connections are open the oldest that
 * has no request under way gives way to a new one: who only opens connections shuts nobody out.
 */
export function createOperatorServer(
  options: { readonly keepAliveTimeout?: number },
  serve: RequestListener,
): Server {
  const server = createServer({ ...LIMITS, ...options }, serve);
  const { headersTimeout, requestTimeout } = LIMITS;
  excusePauses(server, { headersTimeout, requestTimeout }, createWatchedClock(systemClock.elapsed));
  /** In the order they came, with the network that each is counted by. */
  const open = new Map<Socket, string>();
  const busy = new Set<Socket>();

  const makeRoom = (mayGo: (network: string) => boolean): boolean => {
    for (const [socket, network] of open) {
      if (busy.has(socket) || !mayGo(network)) continue;
      open.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  };
  const hasRoom = (network: string): boolean => {
    const ofOne = [...open.values()].filter((each) => each === network).length;
    if (ofOne >= MOST_OF_ONE && network !== '') return makeRoom((each) => each === network);
    return open.size < MOST_OPEN || makeRoom(() => true);
  };
  server.on('connection', (socket: Socket) => {
    // A unix socket has no addresses: whoever may connect there is the operator.
    const [network] = networksOf(plainAddress(socket.remoteAddress ?? ''));
    if (!hasRoom(network)) {
      socket.destroy();
      return;
    }
    open.set(socket, network);
    socket.once('close', () => open.delete(socket));
  });
  const markBusy: RequestListener = ({ socket }, response) => {
    busy.add(socket);
    response.once('close', () => busy.delete(socket));
  };
  server.prependListener('request', markBusy);
  server.prependListener('checkContinue', markBusy);
  return server;
}

/** Endings of names that no public DNS has: a page of somebody else cannot be called so. */
const PRIVATE = /(?:^|\.)(?:localhost|local|internal|lan|home\.arpa|svc|cluster\.local)$/;

/**
 * Whether a request was sent to a name that is ours. By DNS rebinding a page in a browser reaches
 * this port under its own name, and could read what is answered: addresses, single labels and names
 * that no public DNS has cannot be such a page's.
 *
 * @param field `Host` as it came (RFC 9110 §7.2); undefined: no browser sent the request
 * @param names what else this port is called, in lower case
 */
export function isOurHost(field: string | undefined, names: readonly string[]): boolean {
  if (field === undefined) return true;
  const host = field.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  const isAddress = isIP(host) !== 0 || (/^\[.*\]$/.test(host) && isIP(host.slice(1, -1)) !== 0);
  return isAddress || !host.includes('.') || PRIVATE.test(host) || names.includes(host);
}

/**
 * Whether no page in a browser sent a request, or one that came from the same place. Browsers say
 * `Origin` with whatever changes something, and newer ones `Sec-Fetch-Site` with every request to
 * an address of this machine or over TLS. Whoever ends TLS before this port leaves `Host` as it is.
 */
export function isFromOwnPage(headers: IncomingHttpHeaders): boolean {
  const { origin, host = '', 'sec-fetch-site': site = 'none' } = headers;
  if (site !== 'same-origin' && site !== 'none') return false;
  if (origin === undefined) return true;
  const [scheme = ''] = /^https?:\/\//.exec(origin) ?? [];
  if (scheme === '' || !URL.canParse(origin) || !URL.canParse(scheme + host)) return false;
  // Both without the port that the scheme has anyway.
  return new URL(origin).host === new URL(scheme + host).host;
}
