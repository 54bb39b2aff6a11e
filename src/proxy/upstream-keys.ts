import type { KeyPlace, Route } from '../litellm/routes-table.ts';
import type { Secret } from '../secret.ts';
import type { Attempt, AttemptOwner } from './attempt.ts';
import { isSuccess } from './record.ts';

type Field = readonly [name: string, value: string];

/** The field that carries the upstream key to LiteLLM, made once for each way of carrying it. */
type UpstreamKeyField = (place: KeyPlace, keepAuthorization: boolean) => Field;

/**
 * @param keyHeader the one header that LiteLLM was configured to read; undefined: its own carriers
 */
function upstreamKeyFields(key: Secret, keyHeader: string | undefined): UpstreamKeyField {
  const plain = key.reveal();
  const bearer: Field = [keyHeader ?? 'authorization', `Bearer ${plain}`];
  // Where `Authorization` is somebody else's, LiteLLM's first carrier is free.
  const beside: Field = [keyHeader ?? 'x-litellm-api-key', `Bearer ${plain}`];
  const basic = Buffer.from(`litellm:${plain}`).toString('base64');
  const elsewhere: Record<Exclude<KeyPlace, 'bearer'>, Field> = {
    google: ['x-goog-api-key', plain],
    basic: ['authorization', `Basic ${basic}`],
    beside,
  };
  return (place, keepAuthorization) => {
    if (place !== 'bearer') return elsewhere[place];
    return keepAuthorization ? beside : bearer;
  };
}

/** Which of two keys, in the order in which they were given, not in that of their use. */
export type KeyRank = 'first' | 'second';

/** A key that LiteLLM may run with; the same object for as long as the key is live. */
export interface UpstreamKey {
  readonly field: UpstreamKeyField;
}

/** The keys that one LiteLLM may run with: one, or two while its key changes. */
type LiveKeys = ReturnType<typeof createLiveKeys>;

/** Milliseconds: whoever was told that a key is good needs no reminder with each request. */
const TELL_EVERY_MS = 1000;

/**
 * @param options.onAccepted told while there are two keys: of each change at once, otherwise once a
 *   second
 */
export function createLiveKeys(
  key: Secret,
  options: {
    keyHeader: string | undefined;
    elapsed: () => number;
    onAccepted: (rank: KeyRank) => void;
  },
) {
  const made = (secret: Secret): UpstreamKey => ({
    field: upstreamKeyFields(secret, options.keyHeader),
  });
  let first = made(key);
  let best = first;
  let other: UpstreamKey | undefined;
  let told: { readonly key: UpstreamKey; readonly at: number } | undefined;

  /** The same object for the same key: requests under way with it may still speak of it. */
  const knownOrMade = (secret: Secret): UpstreamKey => {
    const fresh = made(secret);
    return [best, other].find((known) => known !== undefined && isSame(known, fresh)) ?? fresh;
  };

  return {
    /** The key that LiteLLM took last, or the first one. */
    get best() {
      return best;
    },
    /** The other of two keys; undefined: there is one key, and nothing to find out. */
    get other() {
      return other;
    },
    use(one: Secret, two: Secret | undefined): void {
      [first, other] = [knownOrMade(one), two && knownOrMade(two)];
      best = first;
      told = undefined;
    },
    /** The key that a request goes with; after a refusal not the one that was refused. */
    pick(refused: UpstreamKey | undefined): UpstreamKey {
      return refused === best && other !== undefined ? other : best;
    },
    /** LiteLLM took a key; of a key that is no longer live this is ignored. */
    noteAccepted(accepted: UpstreamKey): void {
      if (other === undefined || (accepted !== best && accepted !== other)) return;
      if (accepted === other) [best, other] = [other, best];
      const now = options.elapsed();
      if (told?.key === accepted && now - told.at < TELL_EVERY_MS) return;
      told = { key: accepted, at: now };
      options.onAccepted(accepted === first ? 'first' : 'second');
    },
  };
}

const isSame = (one: UpstreamKey, another: UpstreamKey): boolean =>
  one.field('bearer', false)[1] === another.field('bearer', false)[1];

/** An exchange, which can send its request again with the other key. */
export interface KeyTrier {
  /** LiteLLM does not take this key; nothing of the answer was passed on. */
  onKeyRefused(refused: UpstreamKey): void;
}

/** Bytes of a 400 that are read to see what it is about; LiteLLM's own has a hundred. */
const READ_OF_400 = 16 * 1024;
/** Within JSON these quotes can stand in no text of a user's: there they would be escaped. */
const NO_DATABASE = /"type"\s*:\s*"no_db_connection"/;

/** A 400 that is kept back until it shows what it is about. */
interface KeptBack {
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
  #keptBack: KeptBack | undefined;
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
      this.#keptBack = { status, statusText, raw, chunks: [], bytes: 0 };
    } else {
      if (this.#last ? status !== 401 : this.#proves && isSuccess(status)) this.#accept();
      this.#owner.onAnswerHead(status, statusText, raw);
    }
  }

  onAnswerData(chunk: Buffer): boolean {
    if (this.#over) return true;
    const keptBack = this.#keptBack;
    if (keptBack === undefined) return this.#owner.onAnswerData(chunk);
    keptBack.chunks.push(chunk);
    keptBack.bytes += chunk.length;
    return keptBack.bytes <= READ_OF_400 || this.#passOn(keptBack);
  }

  onAnswerEnd(rawTrailers: readonly (Buffer | string)[]): void {
    if (this.#over) return;
    const keptBack = this.#keptBack;
    if (keptBack !== undefined) {
      const isRefusal = NO_DATABASE.test(Buffer.concat(keptBack.chunks).toString('latin1'));
      if (isRefusal && !this.#last) {
        this.#refuse();
        return;
      }
      // The other key was refused, and this one was not.
      if (!isRefusal && this.#last) this.#accept();
      this.#passOn(keptBack);
    }
    this.#owner.onAnswerEnd(rawTrailers);
  }

  onAttemptError(attempt: Attempt, error: Error): void {
    // A 400 that broke off was not passed on: the client can still be told that LiteLLM failed.
    if (!this.#over) this.#owner.onAttemptError(attempt, error);
  }

  #passOn({ status, statusText, raw, chunks, bytes }: KeptBack): boolean {
    this.#keptBack = undefined;
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
