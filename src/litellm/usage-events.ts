import { isSaid, readUsage, type Said, type UsageReader, type UsageReading } from './usage.ts';
import { COLON, findUsage, OPEN, QUOTE, saidAt, WINDOW } from './usage-json.ts';

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const NOWHERE = Number.POSITIVE_INFINITY;
const EMPTY = Buffer.alloc(0);

const DATA = Buffer.from('data:');
const DONE = Buffer.from('[DONE]');
/** `"usage"` and `"usageMetadata"`: within a string their quotes would be escaped. */
const USAGE = Buffer.from('"usage');
const METADATA = Buffer.from('Metadata"');
const isOneOf = (texts: readonly string[]) => {
  const starts = texts.map((text) => Buffer.from(text));
  return (bytes: Buffer, at: number): boolean =>
    starts.some((start) => startsWith(bytes, at, start));
};
/** How the events begin that say that a stream failed, and that it is still alive. */
const isError = isOneOf([
  ...['{"error"', '{"type":"error"', '{"type": "error"'],
  ...['{"type":"response.failed"', '{"type": "response.failed"'],
]);
const isPing = isOneOf(['{"type":"ping"', '{"type": "ping"']);

function startsWith(bytes: Buffer, at: number, start: Buffer): boolean {
  for (let index = 0; index < start.length; index++) {
    if (bytes[at + index] !== start[index]) return false;
  }
  return true;
}

/** Of an event that is longer than a window its beginning is kept, too, which has its type. */
const HEAD = 512;
/** Types of events whose usage is that of an object in them. */
const NESTED = /"(?:type|event_type)"\s*:\s*"(?:response|message_start|interaction)\b/;
/** Of Google's: the event says why it is the last. */
const FINISHED = /"finishReason"\s*:\s*"/;

/** A model's name as a label or a line shows it; '' for what can be none. */
const MODEL_NAME = /^[\x20-\x7e]{1,256}$/;
const modelOf = ({ model }: Said): string =>
  typeof model === 'string' && MODEL_NAME.test(model) ? model : '';

const MODEL = Buffer.from('"model"');
/** Bytes behind the member's name that are looked at. */
const NEAR = 300;
const EARLY_MODEL = /^\s*:\s*"([^"\\]*)"/;

/**
 * The model that an event names before anything nested begins, as nearly all do. To parse the whole
 * of a stream's first event for it is 7 µs, for which its client would wait.
 *
 * @returns '' where it names none; undefined where that cannot be told so easily
 */
function earlyModelIn(data: Buffer): string | undefined {
  const at = data.indexOf(MODEL);
  if (at < 0) return '';
  const nested = data.indexOf(OPEN, data.indexOf(OPEN) + 1);
  if (nested >= 0 && nested < at) return undefined;
  const from = at + MODEL.length;
  const name = EARLY_MODEL.exec(data.toString('latin1', from, from + NEAR))?.[1];
  return name === undefined ? undefined : modelOf({ model: name });
}

/**
 * The usage of an answer that is a stream of events (text/event-stream, WHATWG HTML §9.2). It may
 * take hours, and ten thousand may be open: so nothing is kept but a line that has not ended, and
 * what was said so far. Lines end with LF, CR or both.
 */
export class EventUsage implements UsageReader {
  chunks = 0;
  /** The line that has not ended yet; of one longer than a window, its end. */
  #rest: Buffer | undefined;
  /** The beginning of a line that is longer than a window. */
  #head: Buffer | undefined;
  /** The last byte was a CR: an LF after it ends no other line. */
  #afterCr = false;
  /** The event that is under way has data. */
  #inData = false;
  #failed = false;
  #tooLarge = false;
  /** Anthropic's `message_start`, of which the end repeats all, or the output alone. */
  #start: Said | undefined;
  /** What the usage was when it was said last. */
  #last: UsageReading | undefined;
  /** The last event of Google's, which count on from event to event. */
  #running: string | undefined;
  /** '': not known yet. */
  #firstModel = '';
  #lastModel = '';

  /**
   * LiteLLM names its model group in the chunks of a chat, and in the events of a response, and
   * another after a fallback in mid-stream; where it was told not to, it is a provider's model from
   * the first to the last.
   */
  get model(): string {
    const isOther = this.#firstModel !== '' && this.#firstModel !== this.#lastModel;
    return isOther ? this.#lastModel : '';
  }

  read(chunk: Buffer): boolean {
    const before = this.chunks;
    const mayTell = chunk.includes(USAGE);
    let at = this.#afterCr && chunk[0] === LF ? 1 : 0;
    if (chunk.length > 0) this.#afterCr = chunk[chunk.length - 1] === CR;
    let [lf, cr] = [-1, -1];
    while (at < chunk.length) {
      if (lf < at) lf = placeOf(chunk, LF, at);
      if (cr < at) cr = placeOf(chunk, CR, at);
      const end = Math.min(lf, cr);
      if (end === NOWHERE) this.#keep(chunk.subarray(at));
      else if (this.#rest === undefined) this.#onLine(chunk, at, end, mayTell);
      else this.#endRest(chunk.subarray(at, end));
      at = lf === cr + 1 ? lf + 1 : end + 1;
    }
    return this.chunks !== before;
  }

  end(whole: boolean): UsageReading {
    // The last line may lack its end.
    if (whole && this.#rest !== undefined) this.#endRest(EMPTY);
    const last = this.#running === undefined ? this.#last : this.#readRunning(this.#running, whole);
    if (last !== undefined) return last;
    if (!whole || this.#failed || this.#start !== undefined) return { fault: 'cut' };
    return { fault: this.#tooLarge ? 'too_large' : 'absent' };
  }

  /** Keeps a part of a line that has not ended: a copy, as all that was read would stay with it. */
  #keep(part: Buffer): void {
    const line = Buffer.concat(this.#rest === undefined ? [part] : [this.#rest, part]);
    const isLong = line.length > WINDOW;
    if (isLong) this.#head ??= Buffer.from(line.subarray(0, HEAD));
    this.#rest = isLong ? Buffer.from(line.subarray(-WINDOW)) : line;
  }

  #endRest(part: Buffer): void {
    this.#keep(part);
    const [head, line] = [this.#head, this.#rest ?? EMPTY];
    this.#rest = undefined;
    this.#head = undefined;
    if (head === undefined) this.#onLine(line, 0, line.length, true);
    else if (this.#hasData(head, 0)) this.#onLongData(head, line);
  }

  /** @param mayTell whether there may be a usage in it */
  #onLine(bytes: Buffer, start: number, end: number, mayTell: boolean): void {
    if (start === end) this.#inData = false;
    else if (!this.#hasData(bytes, start)) return;
    else if (end - start > WINDOW) {
      this.#onLongData(bytes.subarray(start), bytes.subarray(end - WINDOW, end));
    } else if (mayTell || this.#firstModel === '') {
      this.#onData(bytes.subarray(start + DATA.length, end));
    }
  }

  /** Whether a line has data; its event is counted, where this is the first of its lines. */
  #hasData(bytes: Buffer, start: number): boolean {
    if (!startsWith(bytes, start, DATA)) return false;
    const value = start + DATA.length + (bytes[start + DATA.length] === SPACE ? 1 : 0);
    if (startsWith(bytes, value, DONE) || isPing(bytes, value)) return false;
    if (isError(bytes, value)) this.#failed = true;
    if (!this.#inData) this.chunks++;
    this.#inData = true;
    return true;
  }

  #onData(data: Buffer): void {
    const told = memberIn(data);
    if (told === 'usageMetadata') this.#running = data.toString('latin1');
    // Azure's first event names no model, its second does.
    else if (told !== undefined || (this.#firstModel === '' && this.chunks <= 2)) {
      const model = told === undefined ? earlyModelIn(data) : undefined;
      if (model !== undefined) {
        this.#firstModel = model;
        return;
      }
      const text = data.toString('latin1');
      const event = parse(text);
      if (event !== undefined) this.#onEvent(event, text);
      else if (told !== undefined) this.#last = { fault: 'invalid' };
    }
  }

  #onEvent(event: Said, text: string): void {
    const model = modelOf(event);
    if (this.#firstModel === '') this.#firstModel = model;
    const said = usageIn(event);
    if (said === event['usageMetadata'] && said !== undefined) {
      // Before it stood a usage that was none, as in what a tool is called with.
      this.#running = text;
    } else if (event['type'] === 'message_start') {
      this.#start = said;
    } else if (said !== undefined) {
      this.#onUsage(this.#start === undefined ? said : joined(this.#start, said), model);
    }
  }

  #onUsage(said: Said, model: string): void {
    const read = readUsage(said);
    // Without `always_include_stream_usage` LiteLLM says 0 in each event of completions.
    if ('fault' in read && read.fault === 'absent') return;
    this.#running = undefined;
    this.#last = read;
    this.#lastModel = model;
  }

  /** An event longer than a window, of which its beginning and its end are here. */
  #onLongData(head: Buffer, tail: Buffer): void {
    const depth = NESTED.test(head.toString('latin1', 0, HEAD)) ? 2 : 1;
    const found = tail.includes(USAGE) ? findUsage(tail, depth) : undefined;
    const said = found === undefined || found === 'cut' ? undefined : saidAt(tail, found);
    if (said === undefined) this.#tooLarge = true;
    else this.#onUsage(said, modelOf({ model: LAST_MODEL.exec(lastOf(tail))?.[1] }));
  }

  /** Undefined: nobody knows whether it was the last of them. */
  #readRunning(text: string, whole: boolean): UsageReading | undefined {
    if ((!whole || this.#failed) && !FINISHED.test(text)) return undefined;
    const event = parse(text);
    if (event === undefined) return { fault: 'invalid' };
    const said = event['usageMetadata'];
    return isSaid(said) ? readUsage(said) : undefined;
  }
}

/** The place of a byte, from one on; NOWHERE where there is none. */
function placeOf(bytes: Buffer, byte: number, from: number): number {
  const at = bytes.indexOf(byte, from);
  return at < 0 ? NOWHERE : at;
}

/** Which member of an event may have a usage; OpenAI's say `"usage":null` until the last. */
function memberIn(data: Buffer): 'usage' | 'usageMetadata' | undefined {
  for (let at = data.indexOf(USAGE); at >= 0; at = data.indexOf(USAGE, at)) {
    at += USAGE.length;
    if (startsWith(data, at, METADATA)) return 'usageMetadata';
    if (data[at] !== QUOTE) continue;
    do at++;
    while (data[at] === COLON || data[at] === SPACE);
    if (data[at] === OPEN) return 'usage';
  }
  return undefined;
}

function parse(text: string): Said | undefined {
  try {
    const event: unknown = JSON.parse(text);
    return isSaid(event) ? event : undefined;
  } catch {
    return undefined;
  }
}

/** Where an event has its usage: in no other object, such as what a tool is called with. */
function usageIn(event: Said): Said | undefined {
  const holders = [event, event['response'], event['message'], event['interaction']];
  const usages = holders.map((holder) => (isSaid(holder) ? holder['usage'] : undefined));
  return [...usages, event['usageMetadata']].find(isSaid);
}

/**
 * What Anthropic says at the beginning with what it says at the end, which is the truth wherever it
 * stands. Where that is the output alone, LiteLLM's price is that of the output: it is no price.
 */
function joined(start: Said, end: Said): Said {
  const known = Object.entries(end).filter(([, value]) => value !== null);
  const all = { ...start, ...Object.fromEntries(known) };
  return 'input_tokens' in end ? all : { ...all, cost: undefined };
}

/** A member that ends the text is one of its own object: LiteLLM puts its model there. */
const LAST_MODEL = /"model"\s*:\s*"([^"\\]+)"\s*\}\s*$/;
const lastOf = (tail: Buffer): string => tail.subarray(-(HEAD - 1)).toString('latin1');
