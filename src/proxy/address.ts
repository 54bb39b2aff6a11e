import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';
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
 * The address of the default gateway in what Linux has in /proc/net/route (proc(5)): eight
 * hexadecimal digits, the last byte of the address first.
 */
export function defaultGateway(routes: string): string | undefined {
  for (const line of routes.split('\n')) {
    const [, destination, gateway = ''] = line.split('\t');
    if (destination !== '00000000' || !/^[0-9A-F]{8}$/.test(gateway)) continue;
    return (gateway.match(/../g) ?? [])
      .reverse()
      .map((byte) => parseInt(byte, 16))
      .join('.');
  }
  return undefined;
}

/** Stands for a client whose address cannot be read: it lies in no block. */
export const NO_ADDRESS = 'unknown';

/** `8.8.8.8`, and with a port `8.8.8.8:51234`, `[2001:db8::7]:443` (RFC 7239 §6). */
const HOP = /^(?:\[([^\]]+)\]|([\d.]+))(?::(\d{1,5}))?$/;
/** A v4 address in its v6 form; ipaddr.js also takes `::10.0.0.1` and `::ffff:010.0.0.1` for it. */
const MAPPED = /^::ffff:([\d.]+)$/i;

/** @returns the address in its one usual form; undefined where the text is none */
function readHop(hop: string): string | undefined {
  const [, bracketed = hop, plain, port = '0'] = HOP.exec(hop) ?? [];
  if (Number(port) > 65_535) return undefined;
  const v4 = plain ?? MAPPED.exec(bracketed)?.[1];
  const text = v4 ?? bracketed;
  // Nobody but an attacker writes `0177.1` for 127.0.0.1.
  const valid =
    v4 === undefined
      ? !text.includes('.') && ipaddr.IPv6.isValid(text)
      : ipaddr.IPv4.isValidFourPartDecimal(v4);
  return valid ? ipaddr.process(text).toString() : undefined;
}

/**
 * Whose request it is: the peer's, or where the peer is a trusted proxy, that of the last address
 * in `X-Forwarded-For` that is no trusted proxy. Where the search meets text that is no address,
 * the client has none: to take the proxy's own would let it pass a list that holds the proxy.
 */
export function clientAddress(
  peer: string,
  forwardedFor: string | undefined,
  isTrusted: InBlocks,
): string {
  const from = plainAddress(peer);
  if (forwardedFor === undefined || !isTrusted(from)) return from;
  let client: string | undefined;
  const hops = forwardedFor.split(',').map((hop) => hop.trim());
  // RFC 9110 §5.6.1.2: empty elements of a list do not count.
  for (const hop of hops.filter((text) => text !== '').reverse()) {
    client = readHop(hop);
    if (client === undefined) return NO_ADDRESS;
    if (!isTrusted(client)) return client;
  }
  return client ?? NO_ADDRESS;
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
  const lines = head.values.filter((_, at) => head.names[at] === 'x-forwarded-for');
  const forwardedFor = lines.length === 0 ? undefined : lines.join(',');
  return { peer, trusted, address: clientAddress(peer, forwardedFor, isTrusted) };
}

/**
 * Tells once that a peer who is not trusted says whose a request is: a proxy that nobody named.
 *
 * @param tell gets that peer's address
 */
export function createUnbelievedNote(tell: (peer: string) => void) {
  let isTold = false;
  return ({ names }: Head, { peer, trusted }: Peer): void => {
    if (isTold || trusted || !names.includes('x-forwarded-for')) return;
    isTold = true;
    tell(peer);
  };
}

/**
 * The networks that a limit counts an address by, each wider than the one before: an IPv6 caller
 * owns a /64 at least (RFC 6177), its provider a /32, and the last holds everybody.
 */
export function networksOf(text: string): readonly [string, ...string[]] {
  const address = parse(text);
  if (address === undefined) return [text, 'all'];
  if (address.kind() === 'ipv4') {
    const [a, b] = (address as ipaddr.IPv4).octets;
    return [address.toString(), `${a}.${b}.0.0/16`, 'all'];
  }
  const [a = 0, b = 0, c = 0, d = 0] = (address as ipaddr.IPv6).parts;
  const hex = [a, b, c, d].map((part) => part.toString(16));
  return [`${hex.join(':')}::/64`, `${hex[0]}:${hex[1]}::/32`, 'all'];
}
