import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { isClientName, MASTER } from '../client-name.ts';
import { Secret } from '../secret.ts';
import { nearest } from '../text/nearest.ts';
import { mayHoldKey } from '../text/safe.ts';
import { got, type Kind, listOf, type Reading, readEach, splitList, wrong } from './units.ts';

/** A whole number from `least` to `most`. */
export const integer = (least: number, most: number): Kind<number> => ({
  read(text) {
    const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    return number >= least && number <= most ? got(number) : wrong();
  },
  allowed: `a whole number from ${least} to ${most}`,
  show: String,
});

/** A TCP port; 0 takes a free one. */
export const port: Kind<number> = {
  ...integer(0, 65_535),
  allowed: 'a port from 1 to 65535, or 0 for a free one',
};

export const flag: Kind<boolean> = {
  read(text) {
    if (/^(?:true|1|yes|on)$/i.test(text)) return got(true);
    return /^(?:false|0|no|off)$/i.test(text) ? got(false) : wrong();
  },
  allowed: 'true or false',
  show: String,
};

/** One word of a closed set, in any case. */
export const oneOf = <const W extends string>(words: readonly W[]): Kind<W> => ({
  read(text) {
    const word = words.find((each) => each === text.toLowerCase());
    if (word !== undefined) return got(word);
    const near = nearest(text.toLowerCase(), words);
    return wrong(near === undefined ? '' : `did you mean ${near}?`);
  },
  allowed: words.join(', '),
  show: String,
});

/** The word `set`. Who writes a salt key itself there by mistake must not find it in a log. */
export const wordSet: Kind<boolean> = {
  read: (text) => (/^(?:set)?$/i.test(text) ? got(text !== '') : wrong()),
  allowed: 'set: the word alone, and not the salt key itself',
  hidden: true,
  show: (isSet) => (isSet ? 'set' : ''),
};

/** The longest name that LiteLLM's own lists have is a third of it. */
const LONGEST_GLOB = 256;

function readModel(text: string): Reading<string> {
  if (mayHoldKey(text)) return wrong('that is a key');
  if (/[,|{}]/.test(text)) return wrong('one by one: say it again for each');
  if (/[?[\]^$!]/.test(text)) return wrong('only * has a meaning: any characters');
  return text !== '' && text.length <= LONGEST_GLOB && !/\p{C}/u.test(text) ? got(text) : wrong();
}

/** The models that a client may use, by their name. */
export const modelGlob: Kind<string> = {
  read: readModel,
  allowed: 'the name of a model, in which * stands for any characters, such as gpt-4o*',
  show: String,
};

/** A file or a folder; relative ones start where the sidecar was started. */
export const path: Kind<string> = {
  read: (text) => (text === '' || text.includes('\0') ? wrong() : got(text)),
  allowed: 'the path of a file or a folder',
  show: String,
};

/** A folder for what is kept; undefined: nothing is kept. A folder of that name is `./none`. */
export const stateOrNone: Kind<string | undefined> = {
  read: (text) => (text === 'none' ? got(undefined) : path.read(text)),
  allowed: 'the path of a folder, or none',
  show: (folder) => folder ?? 'none',
};

/** `NAME=…` as in a dotenv file or a compose file; another word only where a key follows it. */
const NAME_FIRST = new RegExp(
  String.raw`^(?:(?:export|set|setenv|declare -x)\s+|- *|\$env:)?` +
    String.raw`(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|\w+(?=\s*[=:]\s*["'\x60]?sk-))\s*[=:]\s*[^=\s]`,
);

/** What is copied along with a key by mistake: who presents the key alone would be refused. */
const AROUND_KEYS: readonly (readonly [mark: RegExp, fault: string])[] = [
  [/^\\?["'`]|["'`]$/, 'it begins or ends with a quote: leave the quotes out'],
  [NAME_FIRST, 'it begins with a name: only what stands behind the name is the key'],
  [/^\$[({]/, 'it names a variable in whose place nobody put a value: write the key itself'],
  [/^bearer\s/i, 'it begins with the word Bearer, which is no part of the key'],
  [/\s/, 'there is a space or a line break in it: one key is one word'],
  [/\\[rn]$/, 'it ends with a line break that is written out: leave the \\n out'],
];

/** What is wrong with the text of a key, without the text; undefined: nothing is seen. */
export const keyTextFault = (text: string): string | undefined =>
  AROUND_KEYS.find(([mark]) => mark.test(text))?.[1];

function readSecret(text: string, pattern: RegExp): Reading<Secret> {
  const fault = keyTextFault(text);
  if (fault !== undefined) return wrong(fault);
  return pattern.test(text) ? got(new Secret(text)) : wrong();
}

const secretOf = (pattern: RegExp, allowed: string): Kind<Secret> => ({
  read: (text) => readSecret(text, pattern),
  allowed,
  secret: true,
  show: String,
});

/** The declared key. Whether it may guard the gateway is judged in keyring/key.ts. */
export const declaredSecret = secretOf(/./s, 'a key');

/** A key that goes into a header: visible ASCII (RFC 9110 §5.5), no spaces. */
export const headerSecret = secretOf(
  /^[\x21-\x7e]+$/,
  'a key of visible ASCII characters without spaces',
);

/** A password that programs present: long enough that nobody guesses it. */
export const tokenSecret = secretOf(
  /^[\x21-\x7e]{16,}$/,
  'at least 16 visible ASCII characters without spaces, such as `openssl rand -hex 24` makes',
);

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
  read: readHost,
  allowed: 'an IP address or a host name, without a port',
  show: String,
};

/** What a place is called, as `Host` may say it. */
export const hostNames: Kind<readonly string[]> = listOf(
  {
    read(text) {
      const name = readHost(text);
      return 'hint' in name ? name : got(name.value.toLowerCase());
    },
    show: String,
  },
  'host names with commas between them, without ports',
);

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
  { read: readBlock, show: String },
  'addresses and CIDR blocks with commas between them, such as 10.0.0.0/8,192.0.2.7,fd00::/8',
);

/** Stands for the default gateway, as which Docker shows who comes through a published port. */
export const GATEWAY = 'gateway';

/** Proxies: blocks of addresses, and the gateway, whose address Docker changes at each start. */
export const proxies: Kind<readonly string[]> = listOf(
  { read: (text) => (text === GATEWAY ? got(text) : readBlock(text)), show: String },
  'addresses and CIDR blocks with commas between them, and the word gateway for that of Docker',
);

type Upstreams = readonly [URL, ...URL[]];

/** An http or https URL without credentials and query; the caller says what else it may hold. */
function readUrl(text: string): Reading<URL> {
  // `litellm:4000` is a URL of the scheme "litellm": what was meant has none.
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text)) {
    return wrong(/^[\w.-]+(:\d+)?$/.test(text) ? `did you mean http://${text}?` : '');
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) return wrong();
  if (url.username !== '' || url.password !== '') return wrong('it must not hold credentials');
  if (/[?#]/.test(text)) return wrong('it must not hold a query');
  if (url.port === '0') return wrong('no server is reached at port 0');
  return got(url);
}

function readUpstream(text: string): Reading<URL> {
  const result = readUrl(text);
  if ('hint' in result) return result;
  const { protocol, pathname } = result.value;
  if (protocol !== 'http:') return wrong('LiteLLM is reached over plain HTTP, on its own network');
  if (pathname !== '/') return wrong("LiteLLM's root path goes into SIDECAR_ROOT_PATH");
  return result;
}

function readUpstreams(text: string): Reading<Upstreams> {
  const places = readEach(splitList(text), readUpstream);
  if ('hint' in places) return places;
  const urls = places.value;
  const [first, second, ...more] = urls;
  if (first === undefined) return wrong('such as http://litellm:4000');
  if (more.length > 0) return wrong(`there are two slots, and ${urls.length} URLs`);
  if (first.href === second?.href) return wrong('the two slots must differ');
  return got([first, ...urls.slice(1)]);
}

/** Slot `a`, or the slots `a` and `b`. */
export const upstreams: Kind<Upstreams> = {
  read: readUpstreams,
  allowed: 'one http URL, or two with a comma between them, without path, query or credentials',
  show: (urls) => urls.map((url) => url.origin).join(','),
};

/** Where clients find the gateway. */
export const publicUrl: Kind<URL> = {
  read: readUrl,
  allowed: 'an http or https URL without query or credentials',
  show: (url) => url.href.replace(/\/$/, ''),
};

function readOrigin(text: string): Reading<string> {
  const url = readUrl(text);
  if ('hint' in url) return url;
  const { origin, pathname } = url.value;
  return pathname === '/' ? got(origin) : wrong(`without a path: ${origin}`);
}

/** Origins of pages, as browsers send them (RFC 6454 §6.2): in lower case, no default port. */
export const origins: Kind<readonly string[]> = listOf(
  { read: readOrigin, show: String },
  'origins with commas between them, such as https://chat.example.com,http://localhost:3000',
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

/** The name of the one header that carries the key, in lower case. */
export const keyHeader: Kind<string> = {
  read: readKeyHeader,
  allowed: 'the name of a header that HTTP has no other use for',
  show: String,
};

/** Decoded segments of a path. What two parsers could read in two ways has no place in a rule. */
const SEGMENTS = /^(?:\/[^/?#%\\*,\s\p{Cc}]+)*$/u;
const hasDots = (path: string): boolean => /\/\.{1,2}(?:\/|$)/.test(path);

function readRootPath(text: string): Reading<string> {
  const path = text.endsWith('/') ? text.slice(0, -1) : text;
  if (SEGMENTS.test(path) && !hasDots(path)) return got(path);
  return wrong(/^[\w-]+$/.test(path) ? `did you mean /${path}?` : '');
}

/** LiteLLM's SERVER_ROOT_PATH: '' or '/llm', without a slash at its end. */
export const rootPath: Kind<string> = {
  read: readRootPath,
  allowed: 'a path such as /llm',
  show: String,
};

function readPattern(text: string): Reading<string> {
  const below = text.endsWith('/*');
  const path = text.slice(0, below ? -2 : undefined);
  // LiteLLM answers a slash at a path's end with a redirect to the path without it.
  const bare = !below && path.endsWith('/') ? path.slice(0, -1) : path;
  if (text.startsWith('/') && SEGMENTS.test(bare) && !/[{}]/.test(bare) && !hasDots(bare)) {
    return got(below ? `${bare}/*` : bare || '/');
  }
  if (!text.startsWith('/')) return wrong('it begins with a slash');
  if (text.includes('%')) return wrong('write it decoded: %2F as /, %3A as :');
  return /[*{}]/.test(path) ? wrong('only /* at the end stands for something else') : wrong();
}

/** LiteLLM's paths, decoded, without the root path; `/*` at the end covers what lies below, too. */
export const pathPatterns: Kind<readonly string[]> = listOf(
  { read: readPattern, show: String },
  'absolute paths with commas between them, each with or without /* at its end',
);

/** Where a client's newest key is written, and kept up to date. */
export interface PublishTarget {
  readonly client: string;
  readonly kind: 'file' | 'dotenv';
  /** Absolute. */
  readonly path: string;
  /** The variable of a dotenv file; '' for a file that holds the key alone. */
  readonly variable: string;
}

/** As dotenv reads names. */
const VARIABLE = /^[\w.-]+$/;
const TARGET_KINDS = ['file', 'dotenv'] as const;

const NO_COMMAS = 'a path with a comma in it cannot be written here';

function readTarget(text: string): Reading<PublishTarget> {
  // The first colon ends the kind; an = behind it belongs to the path.
  const [, client = MASTER, kind = '', place = ''] =
    /^(?:([^:=]*)=)?([^:=]*):(.*)$/s.exec(text) ?? [];
  if (kind === '') return wrong(`it begins with file: or dotenv:; ${NO_COMMAS}`);
  if (!isClientName(client)) return wrong('a client has lower-case letters, digits and hyphens');
  const known = TARGET_KINDS.find((each) => each === kind);
  if (known === undefined) {
    const near = nearest(kind, TARGET_KINDS);
    return wrong(near === undefined ? '' : `did you mean ${near}:?`);
  }
  return known === 'file' ? readFilePlace(client, place) : readDotenvPlace(client, place);
}

function readFilePlace(client: string, path: string): Reading<PublishTarget> {
  if (path.includes('#')) return wrong('a file holds the key alone; with a variable it is dotenv:');
  return withPath({ client, kind: 'file', path, variable: '' });
}

function readDotenvPlace(client: string, place: string): Reading<PublishTarget> {
  const end = place.lastIndexOf('#');
  if (end < 0) {
    return wrong('name the variable: dotenv:/app/.env#API_KEY (in quotes where it stands in .env)');
  }
  const variable = place.slice(end + 1);
  if (!VARIABLE.test(variable)) return wrong('behind the # stands the name of a variable');
  return withPath({ client, kind: 'dotenv', path: place.slice(0, end), variable });
}

function withPath(target: PublishTarget): Reading<PublishTarget> {
  const { path } = target;
  if (path === '' || path.includes('\0')) return wrong('the path of a file is missing');
  return /(?:^|\/)\.{0,2}$/.test(path) ? wrong('it names a folder, not a file in it') : got(target);
}

/** `file:/run/keys/master`, `dotenv:/srv/app/.env#OPENAI_API_KEY`: a target without its client. */
export const showPlace = ({ kind, path, variable }: PublishTarget): string =>
  `${kind}:${path}${variable === '' ? '' : `#${variable}`}`;

/** Where keys are published. */
export const publishTargets: Kind<readonly PublishTarget[]> = listOf(
  {
    read: readTarget,
    show: (target) => `${target.client === MASTER ? '' : `${target.client}=`}${showPlace(target)}`,
  },
  'file:/path and dotenv:/path/.env#NAME with commas between them, each for master or, with ' +
    'client= in front, for that client',
);
