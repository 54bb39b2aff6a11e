/** What of a request's head is decided on, read once from the bytes as they came. */
export interface Head {
  readonly method: string;
  /** The request target, byte for byte (RFC 9112 §3.2). */
  readonly target: string;
  /** HTTP/1.0 or 1.1: Node's parser takes 0.9 and 2.0 for requests as well. */
  readonly http1: boolean;
  readonly http10: boolean;
  /** Field names in lower case, in the order they came; `values` runs beside them. */
  readonly names: readonly string[];
  readonly values: readonly string[];
  /** Set where the field stands more than once, besides the list fields of RFC 9110 §5.3. */
  readonly repeated: ReadonlySet<string>;
  /** Lower-case field names that `Connection` lists (RFC 9110 §7.6.1). */
  readonly connectionOptions: readonly string[];
  /** The first value of each field below, as it came; of subprotocols, all. */
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly contentLength: string | undefined;
  readonly transferEncoding: string | undefined;
  readonly upgrade: string | undefined;
  readonly requestMethod: string | undefined;
  readonly requestId: string | undefined;
  readonly traceparent: string | undefined;
  readonly userAgent: string | undefined;
  readonly subprotocols: string | undefined;
}

/** Field names are few and repeat: their lower case is looked up, not made again. */
const lowerCase = new Map<string, string>();
const MOST_NAMES = 1000;

function lower(name: string): string {
  const known = lowerCase.get(name);
  if (known !== undefined) return known;
  const made = name.toLowerCase();
  // A scanner that invents names must not fill the memory.
  if (lowerCase.size < MOST_NAMES) lowerCase.set(name, made);
  return made;
}

const NONE: readonly string[] = Object.freeze([]);
const NO_NAMES: ReadonlySet<string> = new Set();

/** The parts of Node's request that a head is read from. */
interface RequestHead {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersionMajor: number;
  readonly httpVersionMinor: number;
  readonly rawHeaders: readonly string[];
}

/** More fields than any client sends. Node drops in silence what is beyond its limit of 1,000. */
export const MOST_FIELDS = 200;

/**
 * Reads the head of a request in one pass over its raw fields: at most one field more than
 * `MOST_FIELDS`, which shows that there are too many. Never fails.
 */
export function readHead(request: RequestHead): Head {
  const raw = request.rawHeaders;
  const end = Math.min(raw.length, 2 * (MOST_FIELDS + 1));
  const names: string[] = [];
  const values: string[] = [];
  let repeated: Set<string> | undefined;
  let connectionOptions = NONE;
  for (let at = 0; at + 1 < end; at += 2) {
    const name = lower(raw[at] ?? '');
    const value = raw[at + 1] ?? '';
    if (names.includes(name)) repeated = (repeated ?? new Set()).add(name);
    if (name === 'connection') connectionOptions = [...connectionOptions, ...optionsOf(value)];
    names.push(name);
    values.push(value);
  }
  const first = (name: string): string | undefined => {
    const at = names.indexOf(name);
    return at < 0 ? undefined : values[at];
  };
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    http1: request.httpVersionMajor === 1,
    http10: request.httpVersionMinor === 0,
    names,
    values,
    repeated: repeated ?? NO_NAMES,
    connectionOptions,
    host: first('host'),
    origin: first('origin'),
    contentLength: first('content-length'),
    transferEncoding: first('transfer-encoding'),
    upgrade: first('upgrade'),
    requestMethod: first('access-control-request-method'),
    requestId: first('x-request-id'),
    traceparent: first('traceparent'),
    userAgent: first('user-agent'),
    subprotocols: joined(names, values, 'sec-websocket-protocol'),
  };
}

/** A list field may stand more than once; it means the same as one line (RFC 9110 §5.3). */
function joined(
  names: readonly string[],
  values: readonly string[],
  wanted: string,
): string | undefined {
  if (!names.includes(wanted)) return undefined;
  return values.filter((_, at) => names[at] === wanted).join(', ');
}

/** The lower-case options of a `Connection` field; the usual two name no field. */
function optionsOf(value: string): readonly string[] {
  if (value === 'keep-alive' || value === 'close') return NONE;
  return value
    .split(',')
    .map((option) => option.trim().toLowerCase())
    .filter((option) => option !== '');
}

/** Whether the request carries a body, by its framing (RFC 9112 §6.3). */
export const hasBody = (head: Head): boolean =>
  head.transferEncoding !== undefined ||
  (head.contentLength !== undefined && head.contentLength !== '0');
