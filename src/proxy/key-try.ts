import type { Route } from '../litellm/routes-table.ts';
import type { Attempt, AttemptOwner } from './attempt.ts';
import type { LiveKeys, UpstreamKey } from './live-keys.ts';

/** Whoever can send a request again with the other key. */
export interface KeyTrier {
  /** LiteLLM does not take this key; nothing of its answer was passed on. */
  onKeyRefused(refused: UpstreamKey): void;
}

/** Bytes of a 400 that are read to see what it is about; LiteLLM's own has a hundred. */
const READ_OF_400 = 16 * 1024;
/** Within JSON these quotes stand in no text of anybody's: there they would be escaped. */
const NO_DATABASE = /"type"\s*:\s*"no_db_connection"/;

interface Held {
  readonly status: number;
  readonly statusText: string;
  readonly raw: readonly Buffer[];
  readonly chunks: Buffer[];
  bytes: number;
}

/**
 * Stands between an attempt and its exchange while two keys are live, and keeps from it what says
 * that the key was the wrong one: a 401, or the 400 of a LiteLLM without a database.
 */
export class KeyTry implements AttemptOwner {
  readonly #owner: AttemptOwner;
  readonly #trier: KeyTrier;
  readonly #keys: LiveKeys;
  readonly #key: UpstreamKey;
  /** The other key was refused before: this answer is passed on, whatever it is. */
  readonly #last: boolean;
  readonly #proves: boolean;
  #held: Held | undefined;
  #over = false;

  constructor(
    owner: AttemptOwner,
    options: {
      trier: KeyTrier;
      keys: LiveKeys;
      key: UpstreamKey;
      last: boolean;
      /** LiteLLM answers this request with a good key only. */
      proves: boolean;
    },
  ) {
    this.#owner = owner;
    this.#trier = options.trier;
    this.#keys = options.keys;
    this.#key = options.key;
    this.#last = options.last;
    this.#proves = options.proves;
  }

  onAnswerHead(status: number, statusText: string, raw: readonly Buffer[]): void {
    if (status === 401 && !this.#last) {
      this.#refuse();
    } else if (status === 400 && isJson(raw)) {
      this.#held = { status, statusText, raw, chunks: [], bytes: 0 };
    } else {
      if (this.#last ? status !== 401 : this.#proves && isGood(status)) this.#accept();
      this.#owner.onAnswerHead(status, statusText, raw);
    }
  }

  onAnswerData(chunk: Buffer): boolean {
    if (this.#over) return true;
    const held = this.#held;
    if (held === undefined) return this.#owner.onAnswerData(chunk);
    held.chunks.push(chunk);
    held.bytes += chunk.length;
    return held.bytes <= READ_OF_400 || this.#passOn(held);
  }

  onAnswerEnd(rawTrailers: readonly (Buffer | string)[]): void {
    if (this.#over) return;
    const held = this.#held;
    if (held !== undefined) {
      const isRefusal = NO_DATABASE.test(Buffer.concat(held.chunks).toString('latin1'));
      if (isRefusal && !this.#last) {
        this.#refuse();
        return;
      }
      // The other key was refused, and this one was not.
      if (!isRefusal && this.#last) this.#accept();
      this.#passOn(held);
    }
    this.#owner.onAnswerEnd(rawTrailers);
  }

  onAttemptError(attempt: Attempt, error: Error): void {
    // A 400 that broke off was not passed on: there is time to say so.
    if (!this.#over) this.#owner.onAttemptError(attempt, error);
  }

  #passOn({ status, statusText, raw, chunks, bytes }: Held): boolean {
    this.#held = undefined;
    this.#owner.onAnswerHead(status, statusText, raw);
    return bytes === 0 || this.#owner.onAnswerData(Buffer.concat(chunks));
  }

  #accept(): void {
    this.#keys.noteAccepted(this.#key);
  }

  #refuse(): void {
    this.#over = true;
    this.#trier.onKeyRefused(this.#key);
  }
}

const isGood = (status: number): boolean => status >= 200 && status < 300;

/** Parameters may follow; the fields are as undici read them. */
function isJson(raw: readonly Buffer[]): boolean {
  const at = raw.findIndex(
    (field, index) =>
      index % 2 === 0 && field.length === 12 && /^content-type$/i.test(field.toString('latin1')),
  );
  return at >= 0 && /^application\/(?:[\w.-]+\+)?json/i.test(raw[at + 1]?.toString('latin1') ?? '');
}

/**
 * Whether a good answer says that the key is good. LiteLLM answers its pages, some lists, and what
 * an MCP server is asked without a look at the key.
 */
export const provesKey = (method: string, route: Route): boolean =>
  method === 'POST' &&
  (route.class === 'inference' || route.class === 'passthrough') &&
  !route.mcp &&
  route.group !== 'other';
