import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import type { Head } from './head.ts';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Block = readonly [Address, number];

/** Whether an address lies in any of the blocks. */
export type InBlocks = (address: string) => boolean;

const parse = (text: string): Address | undefined =>
  ipaddr.isValid(text) ? ipaddr.process(text) : undefined;

/** A v4 address in its v6 form (`::ffff:10.0.0.1`, from a dual-stack socket) as a v4 address. */
export const plainAddress = (text: string): string =>
  text.startsWith('::ffff:') && text.includes('.') ? text.slice(7) : text;

/**
 * A test for CIDR blocks; bare addresses are blocks of one.
 *
 * @param cidrs checked already, when the configuration was read
 */
export function inBlocks(cidrs: readonly string[]): InBlocks {
  if (cidrs.length === 0) return () => false;
  const blocks = cidrs.map(readBlock);
  return (text) => {
    const address = parse(text);
    if (address === undefined) return false;
    return blocks.some(
      ([base, bits]) => base.kind() === address.kind() && address.match(base, bits),
    );
  };
}

function readBlock(cidr: string): Block {
  if (cidr.includes('/')) return ipaddr.parseCIDR(cidr);
  const address = ipaddr.process(cidr);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

/** Whether an address lies in any block of a list; the blocks were checked when they were read. */
type BlockLists = (blocks: readonly string[], address: string) => boolean;

/** Each list is compiled once: a list is known by its identity. */
export function createBlockLists(): BlockLists {
  const compiled = new WeakMap<readonly string[], InBlocks>();
  return (blocks, address) => {
    let isIn = compiled.get(blocks);
    if (isIn === undefined) {
      isIn = inBlocks(blocks);
      compiled.set(blocks, isIn);
    }
    return isIn(address);
  };
}

/**
 * Whose request it is: the peer's, or where the peer is a trusted proxy, that of the last address
 * in `X-Forwarded-For` that is no trusted proxy. Text that is no address ends the search: the
 * request is then of the one that wrote that text.
 */
export function clientAddress(
  peer: string,
  forwardedFor: string | undefined,
  isTrusted: InBlocks,
): string {
  let client = plainAddress(peer);
  if (forwardedFor === undefined || !isTrusted(client)) return client;
  const hops = forwardedFor.split(',').map((hop) => hop.trim());
  for (const hop of hops.reverse()) {
    if (!ipaddr.isValid(hop)) return client;
    client = plainAddress(hop);
    if (!isTrusted(client)) return client;
  }
  return client;
}

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

/** The unit that a limit counts by: an IPv6 caller owns a /64 at least (RFC 6177). */
export function limitKey(text: string): string {
  const address = parse(text);
  if (address === undefined || address.kind() === 'ipv4') return text;
  const [a = 0, b = 0, c = 0, d = 0] = (address as ipaddr.IPv6).parts;
  return `${[a, b, c, d].map((part) => part.toString(16)).join(':')}::/64`;
}

export type FailureLimiter = ReturnType<typeof createFailureLimiter>;

/**
 * Counts failed authentications by address, so that guessing is slow and cheap to turn away.
 *
 * @param perMinute failures an address may make in a minute; 0: no limit
 */
export function createFailureLimiter(perMinute: number) {
  const limiter = new RateLimiterMemory({ points: perMinute, duration: 60 });
  return {
    /**
     * Counts one failure. Resolves to undefined below the limit, else to the seconds until the
     * address may fail again. Never rejects: a limiter that breaks lets the refusal stand as it is.
     */
    async count(address: string): Promise<number | undefined> {
      if (perMinute === 0) return undefined;
      try {
        await limiter.consume(limitKey(address));
        return undefined;
      } catch (rejection) {
        return secondsIn(rejection);
      }
    },
  };
}

/** Where the limit is reached, the library rejects with the state of that limit. */
function secondsIn(rejection: unknown): number | undefined {
  if (typeof rejection !== 'object' || rejection === null) return undefined;
  if (!('msBeforeNext' in rejection)) return undefined;
  return Math.max(1, Math.ceil(Number(rejection.msBeforeNext) / 1000));
}
