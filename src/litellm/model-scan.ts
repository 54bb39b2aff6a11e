import { TextDecoder } from 'node:util';
import { parseJson } from '../text/safe.ts';
import { type ModelFault, type ModelJudge, mayNameModels, namesModels } from './model-names.ts';

/** What looks through the bytes of a body, as they come, for the models that it names. */
export interface BodyScan {
  /** Reads on. Returns a fault as soon as there is one: nothing more is read then. */
  read(chunk: Buffer): ModelFault | undefined;
  /** The body is whole. */
  end(): ModelFault | undefined;
}

/** Bytes of a value that is looked into; a list of fallbacks has hundreds. */
const LONGEST_VALUE = 64 * 1024;
/** Bytes of the name of a member that may count, each of its letters written as `\\u0061`. */
const LONGEST_NAME = 256;
/** orjson and Python's json both give up near a thousand. */
const DEEPEST = 1024;
/** A string is read byte by byte so far; the rest of a longer one is skipped at once. */
const NEAR = 32;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const COLON = 0x3a;
const COMMA = 0x2c;

/** What a byte outside of strings is; 0: nothing that JSON, or Python's NaN and Infinity, has. */
const SPACE = 1;
const WORD = 2;
const OPENS = 3;
const CLOSES = 4;
const STRING = 5;
const SEPARATES = 6;
const KIND = new Uint8Array(256);
for (const byte of Buffer.from(' \t\r\n')) KIND[byte] = SPACE;
for (const byte of Buffer.from('+-.0123456789')) KIND[byte] = WORD;
for (let byte = 0x41; byte <= 0x5a; byte++) KIND[byte] = KIND[byte + 0x20] = WORD;
for (const byte of [OPEN_OBJECT, OPEN_LIST]) KIND[byte] = OPENS;
for (const byte of [CLOSE_OBJECT, CLOSE_LIST]) KIND[byte] = CLOSES;
for (const byte of [COLON, COMMA]) KIND[byte] = SEPARATES;
KIND[QUOTE] = STRING;
const IS_PLAIN = KIND.map((kind) => Number([SPACE, WORD, SEPARATES].includes(kind)));

/** What is expected next in the object whose members are looked at, or what is being read. */
type State =
  | 'start'
  | 'first_member'
  | 'member'
  | 'name'
  | 'colon'
  | 'value'
  | 'text'
  | 'word'
  | 'nested'
  | 'after'
  | 'done';

const NOT_STRICT = 'the body is not strict JSON';

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Looks through a JSON text for its top-level members that name models, and for the `model` of its
 * `tools`, which OpenAI's image tool and Anthropic's advisor have. It keeps no more than the value
 * of one such member.
 *
 * LiteLLM reads a body with orjson, then with Python's json (http_parsing_utils.py), some handlers
 * with Starlette's `request.json()`, which takes UTF-16 and UTF-32, too. What is let through here
 * reads the same to all of them: bytes of ASCII outside of strings, one object and nothing behind
 * it. Strings end at the same quote for whoever takes the text at all, so that only those that
 * count are decoded. Of a member that stands twice the last one counts for LiteLLM; each is judged.
 */
export class JsonModelScan implements BodyScan {
  readonly #judge: ModelJudge;
  #state: State = 'start';
  #fault: ModelFault | undefined;
  /** Objects and lists that are open. */
  #depth = 0;
  /** The depth of the object whose members are looked at: 1, or 3 for a tool. */
  #level = 1;
  /** In a string of a nested value. */
  #isInString = false;
  /** The chunk before ended with a backslash in a string. */
  #isEscaped = false;
  #isTools = false;
  /** The value of `tools` is a list. */
  #isToolList = false;
  /** The member whose value is kept; '': the value does not count. */
  #member = '';
  /** Where that which is kept begins in this chunk; -1: nothing is. */
  #from = -1;
  /** What is kept of earlier chunks. */
  #kept: Buffer[] = [];
  #keptBytes = 0;

  constructor(judge: ModelJudge) {
    this.#judge = judge;
  }

  read(chunk: Buffer): ModelFault | undefined {
    if (this.#from >= 0) this.#from = 0;
    let at = 0;
    while (at < chunk.length && this.#fault === undefined) at = this.#step(chunk, at);
    if (this.#from >= 0) this.#keep(chunk);
    return this.#fault;
  }

  end(): ModelFault | undefined {
    if (this.#state === 'done' || this.#fault !== undefined) return this.#fault;
    this.#refuse(
      this.#state === 'start' ? 'the body is empty' : 'the JSON in the body does not end',
    );
    return this.#fault;
  }

  /** Reads one thing, and returns where the next begins. */
  #step(chunk: Buffer, at: number): number {
    switch (this.#state) {
      case 'name':
      case 'text':
        return this.#text(chunk, at);
      case 'word':
        return this.#word(chunk, at);
      case 'nested':
        return this.#nested(chunk, at);
      default:
        return this.#between(chunk, at);
    }
  }

  #between(chunk: Buffer, at: number): number {
    const byte = chunk[at] ?? 0;
    if (KIND[byte] === SPACE) return at + 1;
    switch (this.#state) {
      case 'start':
        if (byte !== OPEN_OBJECT) return this.#refuse('the body is no JSON object in UTF-8');
        this.#depth = 1;
        return this.#expect('first_member', at + 1);
      case 'first_member':
        return byte === CLOSE_OBJECT ? this.#close(at + 1) : this.#beginName(chunk, byte, at);
      case 'member':
        return this.#beginName(chunk, byte, at);
      case 'colon':
        return byte === COLON ? this.#expect('value', at + 1) : this.#refuse(NOT_STRICT);
      case 'value':
        return this.#beginValue(chunk, byte, at);
      case 'after':
        if (byte === CLOSE_OBJECT) return this.#close(at + 1);
        return byte === COMMA ? this.#expect('member', at + 1) : this.#refuse(NOT_STRICT);
      default:
        return this.#refuse('something stands behind the JSON in the body');
    }
  }

  #beginName(chunk: Buffer, byte: number, at: number): number {
    if (byte !== QUOTE) return this.#refuse(NOT_STRICT);
    this.#from = at;
    this.#state = 'name';
    return this.#text(chunk, at + 1);
  }

  #expect(state: State, at: number): number {
    this.#state = state;
    return at;
  }

  #refuse(why: string): number {
    this.#fault = { why };
    return 0;
  }

  #beginValue(chunk: Buffer, byte: number, at: number): number {
    if (this.#member !== '') this.#from = at;
    switch (KIND[byte]) {
      case STRING:
        this.#state = 'text';
        return this.#text(chunk, at + 1);
      case WORD:
        this.#state = 'word';
        return this.#word(chunk, at);
      case OPENS:
        this.#depth++;
        if (this.#level === 1) this.#isToolList = this.#isTools && byte === OPEN_LIST;
        return this.#expect('nested', at + 1);
      default:
        return this.#refuse(NOT_STRICT);
    }
  }

  #word(chunk: Buffer, at: number): number {
    let end = at;
    while (end < chunk.length && KIND[chunk[end] ?? 0] === WORD) end++;
    return end < chunk.length ? this.#endValue(chunk, end) : end;
  }

  /** Reads on in a string that is the name of a member, or its value. */
  #text(chunk: Buffer, at: number): number {
    const end = this.#endOfString(chunk, at);
    if (end < 0) return chunk.length;
    return this.#state === 'name' ? this.#endName(chunk, end) : this.#endValue(chunk, end);
  }

  /** Reads on in a value that is an object or a list, and returns behind it where it ends. */
  #nested(chunk: Buffer, start: number): number {
    let at = start;
    while (at < chunk.length && this.#state === 'nested' && this.#fault === undefined) {
      at = this.#isInString ? this.#nestedString(chunk, at) : this.#bracket(chunk, at);
    }
    return at;
  }

  #nestedString(chunk: Buffer, at: number): number {
    const end = this.#endOfString(chunk, at);
    this.#isInString = end < 0;
    return end < 0 ? chunk.length : end;
  }

  /** Reads to behind the next quote or bracket. */
  #bracket(chunk: Buffer, start: number): number {
    const at = skipPlain(chunk, start);
    if (at === chunk.length) return at;
    const byte = chunk[at] ?? 0;
    this.#isInString = byte === QUOTE;
    if (KIND[byte] === CLOSES) return this.#shut(chunk, at + 1);
    if (KIND[byte] === OPENS) this.#open(byte);
    else if (byte !== QUOTE) this.#refuse(NOT_STRICT);
    return at + 1;
  }

  #open(byte: number): void {
    if (++this.#depth > DEEPEST) this.#refuse('the body is nested too deeply');
    if (!this.#isToolList || this.#depth !== 3 || byte !== OPEN_OBJECT) return;
    this.#level = 3;
    this.#state = 'first_member';
  }

  #shut(chunk: Buffer, end: number): number {
    return --this.#depth === this.#level ? this.#endValue(chunk, end) : end;
  }

  /**
   * Where the string ends, behind its quote; -1: behind this chunk.
   *
   * @param start in the string, and not behind a backslash of this chunk
   */
  #endOfString(chunk: Buffer, start: number): number {
    let at = this.#isEscaped ? start + 1 : start;
    this.#isEscaped = false;
    while (at < chunk.length) {
      at = quoteNear(chunk, at);
      if (chunk[at] === QUOTE) return at + 1;
      if (at >= chunk.length) break;
      const quote = chunk.indexOf(QUOTE, at);
      const end = quote < 0 ? chunk.length : quote;
      // The string goes on behind a quote that is escaped.
      const escapes = isEscapedAt(chunk, end, at);
      if (quote >= 0 && !escapes) return quote + 1;
      at = escapes ? end + 1 : end;
    }
    this.#isEscaped = at > chunk.length;
    return -1;
  }

  /** Returns where to go on: behind the colon, where that is next. */
  #endName(chunk: Buffer, end: number): number {
    this.#member = '';
    if (this.#level === 1) this.#isTools = false;
    const name = this.#nameAt(chunk, end);
    if (name === undefined) return this.#refuse(NOT_STRICT);
    if (this.#level === 3) this.#member = name === 'model' ? name : '';
    else if (namesModels(name)) this.#member = name;
    else this.#isTools = name === 'tools';
    this.#state = chunk[end] === COLON ? 'value' : 'colon';
    return chunk[end] === COLON ? end + 1 : end;
  }

  /** The name that ends here; '' where it is none of those that count; undefined: it is no JSON. */
  #nameAt(chunk: Buffer, end: number): string | undefined {
    if (this.#keptBytes === 0) {
      const [start, close] = [this.#from + 1, end - 1];
      const isPlain = isPlainText(chunk, start, close);
      if (isPlain) this.#from = -1;
      if (isPlain && !mayNameModels(close - start)) return '';
      if (isPlain) return chunk.toString('latin1', start, close);
    }
    const bytes = this.#taken(chunk, end, LONGEST_NAME);
    if (bytes === undefined) return '';
    const name = jsonOf(bytes);
    return typeof name === 'string' ? name : undefined;
  }

  /** Returns where to go on: behind the comma, where that is next. */
  #endValue(chunk: Buffer, end: number): number {
    if (this.#member !== '') this.#judgeValue(chunk, end);
    if (this.#fault !== undefined) return end;
    this.#state = chunk[end] === COMMA ? 'member' : 'after';
    return chunk[end] === COMMA ? end + 1 : end;
  }

  #judgeValue(chunk: Buffer, end: number): void {
    const value = this.#valueAt(chunk, end);
    if (value === undefined) this.#fault ??= { why: NOT_STRICT };
    else if (this.#level === 1) this.#fault = this.#judge.member(this.#member, value);
    else if (typeof value === 'string') this.#fault = this.#judge.beside(value);
  }

  /** The value that ends here; undefined: it is no JSON, or too long. */
  #valueAt(chunk: Buffer, end: number): unknown {
    const [start, close] = [this.#from + 1, end - 1];
    if (this.#keptBytes === 0 && this.#state === 'text' && isPlainText(chunk, start, close)) {
      this.#from = -1;
      return chunk.toString('latin1', start, close);
    }
    const bytes = this.#taken(chunk, end, LONGEST_VALUE);
    if (bytes === undefined) this.#refuse(`"${this.#member}" is too long`);
    return bytes && jsonOf(bytes);
  }

  #close(at: number): number {
    if (this.#level === 1) return this.#expect('done', at);
    this.#level = 1;
    this.#depth = 2;
    this.#member = '';
    return this.#expect('nested', at);
  }

  /** Keeps the end of a chunk, as what is kept goes on in the next. */
  #keep(chunk: Buffer): void {
    const piece = chunk.subarray(this.#from);
    this.#keptBytes += piece.length;
    // What is longer was for nothing, and only its length is kept.
    if (this.#keptBytes > LONGEST_VALUE) this.#kept = [];
    else this.#kept.push(piece);
  }

  /** What was kept, to the end of a name or a value; undefined: it is longer than that. */
  #taken(chunk: Buffer, end: number, longest: number): Buffer | undefined {
    const last = chunk.subarray(this.#from, end);
    const before = this.#kept;
    const length = this.#keptBytes + last.length;
    this.#from = -1;
    this.#kept = [];
    this.#keptBytes = 0;
    if (length > longest) return undefined;
    return before.length === 0 ? last : Buffer.concat([...before, last]);
  }
}

/** Where something stands that counts in a nested value: a quote, a bracket, or no JSON at all. */
function skipPlain(chunk: Buffer, start: number): number {
  let at = start;
  while (at < chunk.length && IS_PLAIN[chunk[at] ?? 0] === 1) at++;
  return at;
}

/**
 * Reads a string byte by byte, as far as most strings go: to its quote, or to somewhere behind a
 * whole escape.
 */
function quoteNear(chunk: Buffer, start: number): number {
  const near = Math.min(start + NEAR, chunk.length);
  let at = start;
  while (at < near) {
    const byte = chunk[at];
    if (byte === QUOTE) break;
    at += byte === BACKSLASH ? 2 : 1;
  }
  return at;
}

/** Whether the text of a string is short, and what it stands for: printable ASCII, no escapes. */
function isPlainText(chunk: Buffer, start: number, end: number): boolean {
  if (end - start > LONGEST_NAME) return false;
  for (let at = start; at < end; at++) {
    const byte = chunk[at] ?? 0;
    if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return false;
  }
  return true;
}

/** Whether an odd number of backslashes stands before a place in a string, back to `start`. */
function isEscapedAt(chunk: Buffer, place: number, start: number): boolean {
  let at = place;
  while (at > start && chunk[at - 1] === BACKSLASH) at--;
  return (place - at) % 2 === 1;
}

/** Undefined: this is no JSON in UTF-8. */
function jsonOf(bytes: Buffer): unknown {
  try {
    return parseJson(strictUtf8.decode(bytes));
  } catch {
    return undefined;
  }
}
