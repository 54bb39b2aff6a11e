import { isSaid, readUsage, type Said, type UsageReader, type UsageReading } from './usage.ts';

/**
 * Bytes that are kept of the beginning and of the end of an answer. The usage stands at the end,
 * and behind it at most what a caller may attach: OpenAI's `metadata` is 9 KB. At the beginning it
 * stands where LiteLLM translates into Anthropic's messages, and writes the content behind it.
 */
export const WINDOW = 16 * 1024;

export const QUOTE = 0x22;
const BACKSLASH = 0x5c;
export const COLON = 0x3a;
const COMMA = 0x2c;
export const OPEN = 0x7b;
const CLOSE = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** How much deeper the text is behind each byte. */
const STEP = new Int8Array(256);
STEP[OPEN] = 1;
STEP[OPEN_LIST] = 1;
STEP[CLOSE] = -1;
STEP[CLOSE_LIST] = -1;

/** The members that a dialect has its usage in: `meta` is Cohere's, which others have beside it. */
const NAMES = ['usage', 'usageMetadata', 'meta'] as const;
type Name = (typeof NAMES)[number];
const LONGEST_NAME = 13;

/** Where the value of a member stands in the text that was looked through. */
interface Found {
  readonly start: number;
  readonly end: number;
}

/**
 * Finds the member of a JSON text that has its usage, from the end of the text, which may have lost
 * its beginning. So what stands in a deeper object, such as a tool's input, is not taken for it.
 *
 * @param depth how many objects the member is in: 1 for one of the text's own object
 * @returns 'cut' where this is no end of a JSON text; undefined where it has no such member
 */
export function findUsage(bytes: Buffer, depth: number): Found | 'cut' | undefined {
  let last = bytes.length - 1;
  while (isSpace(bytes[last])) last--;
  const byte = bytes[last];
  if (byte !== CLOSE && byte !== CLOSE_LIST) return 'cut';
  // Google streams a list of answers where nobody asked for events: the last of them counts.
  return new Backwards(bytes, depth + (byte === CLOSE ? 0 : 1)).find(last);
}

/** One look through a JSON text from its end, until a usage is found. */
class Backwards {
  readonly #bytes: Buffer;
  /** How many objects and lists the member is in. */
  readonly #place: number;
  #depth = 0;
  /** The object that was passed last at that depth; `#end` is 0 where it was something else. */
  #start = 0;
  #end = 0;
  #found: Found | undefined;
  #meta: Found | undefined;

  constructor(bytes: Buffer, place: number) {
    this.#bytes = bytes;
    this.#place = place;
  }

  find(last: number): Found | undefined {
    const bytes = this.#bytes;
    for (let at = last; at >= 0 && this.#found === undefined; at--) {
      const byte = bytes[at] ?? 0;
      if (byte === QUOTE) at = this.#onString(at);
      else if (STEP[byte] !== 0) this.#onBracket(byte, at);
      else if (byte === COMMA && this.#depth <= this.#place) {
        // Of a list, only the last element is looked at.
        if (this.#depth < this.#place && this.#place > 1 && bytes[last] === CLOSE_LIST) break;
        this.#end = 0;
      }
    }
    return this.#found ?? this.#meta;
  }

  #onBracket(byte: number, at: number): void {
    const before = this.#depth;
    this.#depth -= STEP[byte] ?? 0;
    if (this.#depth < before && this.#depth === this.#place) this.#start = at;
    // What is no object is no usage.
    else if (before === this.#place) this.#end = byte === CLOSE ? at + 1 : 0;
  }

  /** Returns where the string that ends at `close` begins. */
  #onString(close: number): number {
    const open = openingQuote(this.#bytes, close);
    if (this.#depth === this.#place && this.#end > 0) {
      const name = nameAt(this.#bytes, open, close);
      const value = { start: this.#start, end: this.#end };
      if (name === 'meta') this.#meta ??= value;
      else if (name !== undefined) this.#found = value;
    }
    return open;
  }
}

/** Steps by which the other end of a short string is looked for, before it is searched for. */
const SHORT = 24;

/** Where the string that ends at `close` begins; -1: before these bytes. */
function openingQuote(bytes: Buffer, close: number): number {
  let at = close - 1;
  for (;;) {
    const near = Math.max(at - SHORT, -1);
    while (at > near && bytes[at] !== QUOTE) at--;
    // An offset below 0 would count from the end.
    if (at >= 0 && bytes[at] !== QUOTE) at = bytes.lastIndexOf(QUOTE, at);
    if (at < 0) return -1;
    // It is escaped behind an odd number of backslashes.
    let slashes = 0;
    while (bytes[at - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return at;
    at -= slashes + 1;
  }
}

/** The member's name, where it is one of those that count. */
function nameAt(bytes: Buffer, open: number, close: number): Name | undefined {
  if (open < 0 || close - open - 1 > LONGEST_NAME) return undefined;
  // In a text that lost its beginning, this may be the rest of a longer name.
  let before = open - 1;
  while (isSpace(bytes[before])) before--;
  if (bytes[before] !== OPEN && bytes[before] !== COMMA) return undefined;
  const text = bytes.toString('latin1', open + 1, close);
  return NAMES.find((name) => name === text);
}

/** Finds the usage in the beginning of a JSON object that is longer. `meta` is nobody's first. */
function findInHead(bytes: Buffer): Found | undefined {
  let at = bytes.indexOf(OPEN);
  while (at >= 0) {
    const open = bytes.indexOf(QUOTE, at);
    const close = open < 0 ? -1 : closeOf(bytes, open);
    const start = close < 0 ? -1 : bytes.indexOf(COLON, close) + 1;
    if (start <= 0) return undefined;
    const end = closeOf(bytes, start);
    if (end < 0) return undefined;
    const value = bytes.toString('latin1', start, end).trimStart();
    const isUsage = bytes.toString('latin1', open, close).startsWith('"usage');
    if (isUsage && value.startsWith('{')) return { start, end };
    at = bytes.indexOf(COMMA, end);
  }
  return undefined;
}

/** Where the text of a value ends that begins at `start`; -1: behind these bytes. */
function closeOf(bytes: Buffer, start: number): number {
  let depth = 0;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === QUOTE) at = closingQuote(bytes, at);
    depth += STEP[byte] ?? 0;
    if (depth < 0 || (depth === 0 && byte === COMMA)) return at;
    if (depth === 0 && (byte === QUOTE || STEP[byte] === -1)) return at + 1;
  }
  return -1;
}

/** Where the string that begins at `open` ends; the length where that is behind these bytes. */
function closingQuote(bytes: Buffer, open: number): number {
  let at = open + 1;
  while (at < bytes.length && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
  return at;
}

/** The object at a place of an answer; undefined: it is none. */
export function saidAt(bytes: Buffer, { start, end }: Found): Said | undefined {
  try {
    // Names and numbers are ASCII, whatever else somebody put in.
    const said: unknown = JSON.parse(bytes.toString('latin1', start, end));
    return isSaid(said) ? said : undefined;
  } catch {
    return undefined;
  }
}

const readAt = (bytes: Buffer, found: Found): UsageReading => {
  const said = saidAt(bytes, found);
  return said === undefined ? { fault: 'invalid' } : readUsage(said);
};

/**
 * The usage of an answer that is one JSON text, of any length: it holds the bytes at its beginning
 * and at its end, and looks at them once, at the end.
 */
export class JsonUsage implements UsageReader {
  readonly chunks = 0;
  readonly model = '';
  #length = 0;
  /** The beginning of an answer that is longer than a window. */
  #head: Buffer | undefined;
  /** The end of the answer; while it fits a window, all of it. */
  #tail: Buffer | undefined;

  read(chunk: Buffer): false {
    this.#length += chunk.length;
    const isAll = this.#length <= WINDOW;
    // What fits is joined, and so is the piece with which it is too long, for the beginning's sake.
    if (isAll || this.#head === undefined || chunk.length < WINDOW) {
      this.#tail = this.#tail === undefined ? chunk : Buffer.concat([this.#tail, chunk]);
    } else this.#tail = chunk;
    if (isAll) return false;
    this.#head ??= this.#tail.subarray(0, WINDOW);
    this.#tail = this.#tail.subarray(-WINDOW);
    return false;
  }

  end(whole: boolean): UsageReading {
    const [head, tail] = [this.#head, this.#tail];
    if (!whole) return { fault: 'cut' };
    if (tail === undefined) return { fault: 'absent' };
    const found = findUsage(tail, 1);
    if (found === 'cut') {
      return { fault: isJson(head ?? tail) ? 'cut' : 'absent' };
    }
    if (found !== undefined) return readAt(tail, found);
    if (head === undefined) return { fault: 'absent' };
    const early = findInHead(head);
    return early === undefined ? { fault: 'too_large' } : readAt(head, early);
  }
}

/** Whether this begins like an answer that may say a usage. */
function isJson(bytes: Buffer): boolean {
  let at = 0;
  while (isSpace(bytes[at])) at++;
  return bytes[at] === OPEN || bytes[at] === OPEN_LIST;
}
