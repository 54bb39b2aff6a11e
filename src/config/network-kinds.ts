import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { got, type Kind, listOf, type Reading, reading, wrong } from './kind.ts';

const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

function readHost(text: string): Reading<string> {
  if (isIP(text) !== 0) return got(text);
  if (/^\[.*\]$/.test(text)) return wrong('without the brackets');
  if (/^[^:]*:\d+$/.test(text)) return wrong('the port is a setting of its own');
  if (text === '*') return wrong('did you mean 0.0.0.0?');
  // RFC 1123 §2.1: a last label of digits would be an address, and this is none.
  const labels = text.split('.');
  const isName = labels.every((label) => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1) ?? '');
  return isName && text.length <= 253 ? got(text) : wrong();
}

/** Where to listen. */
export const host: Kind<string> = {
  schema: reading(readHost),
  allowed: 'an IP address or a host name, without a port',
  show: (text) => text,
};

/** A CIDR block in its plain form, `10.0.0.0/8`. */
function readBlock(text: string): Reading<string> {
  const [address = '', bits, ...more] = text.split('/');
  const isV4 = ipaddr.IPv4.isValidFourPartDecimal(address);
  const isV6 = !isV4 && address.includes(':') && !address.includes('%') && ipaddr.isValid(address);
  if (more.length > 0 || !(isV4 || isV6)) return wrong();
  const most = isV4 ? 32 : 128;
  const length = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : Infinity;
  if (length > most) return wrong(`the number after / is from 0 to ${most}`);
  return plainBlock(address, length);
}

function plainBlock(text: string, bits: number): Reading<string> {
  const address = ipaddr.parse(text);
  if (address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress()) {
    // Callers' addresses are compared as IPv4 wherever they are that.
    const plain = address.toIPv4Address().toString();
    return bits < 96 ? wrong('write it as an IPv4 block') : plainBlock(plain, bits - 96);
  }
  const family = address instanceof ipaddr.IPv6 ? ipaddr.IPv6 : ipaddr.IPv4;
  const base = family.networkAddressFromCIDR(`${address}/${bits}`).toString();
  if (base === address.toString()) return got(`${base}/${bits}`);
  return wrong(`did you mean ${base}/${bits}, or ${address} alone?`);
}

/** Blocks of addresses; a bare address is a block of one. */
export const blocks: Kind<readonly string[]> = listOf(
  { schema: reading(readBlock), allowed: '', show: (text) => text },
  'addresses and CIDR blocks with commas between them, such as 10.0.0.0/8,192.0.2.7,fd00::/8',
);

/** Fields that mean something to HTTP itself or to this proxy (RFC 9110 §7.6.1, §8, §10.1). */
const TAKEN = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding'],
  ...['upgrade', 'proxy-authenticate', 'proxy-authorization', 'proxy-authentication-info'],
  ...['host', 'expect', 'via', 'forwarded', 'date', 'origin', 'range', 'cookie', 'set-cookie'],
  ...['user-agent', 'x-request-id', 'x-real-ip', 'mcp-session-id', 'www-authenticate'],
]);
const TAKEN_FAMILY = /^(?:content|accept|x-forwarded|sec|access-control|if|x-sidecar)(?:-|$)/;

function readKeyHeader(text: string): Reading<string> {
  // RFC 9110 §5.6.2: a field name is a token.
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/.test(text)) return wrong();
  const name = text.toLowerCase();
  return TAKEN.has(name) || TAKEN_FAMILY.test(name)
    ? wrong('that header has a meaning of its own; take one such as x-api-key')
    : got(name);
}

/** The one header that carries the key, in lower case. */
export const keyHeader: Kind<string> = {
  schema: reading(readKeyHeader),
  allowed: 'the name of a header that HTTP has no other use for',
  show: (text) => text,
};
