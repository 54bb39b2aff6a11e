import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { BodyCheck } from './model-check.ts';

/** The room, in bytes, that all exchanges together may use for what a second try would send. */
export function createReplayBudget(totalBytes: number) {
  let left = totalBytes;
  return {
    /** Returns false where there is no room: nothing was taken. */
    take(bytes: number): boolean {
      if (bytes > left) return false;
      left -= bytes;
      return true;
    },
    give(bytes: number): void {
      left += bytes;
    },
  };
}

/** What is the same for every body. */
export interface UploadRules {
  /** Bytes of one body that are kept for a second try. */
  readonly replayBytes: number;
  readonly budget: ReturnType<typeof createReplayBudget>;
  /** Bytes a body may have; 0: no limit. */
  readonly limit: number;
  /** The watched clock, milliseconds. */
  readonly elapsed: () => number;
}

/**
 * Whether all of a request's body is in this process already. Node sets `complete` a moment after
 * the last byte of a body of known length came.
 */
export function isAllHere(request: IncomingMessage, contentLength: string | undefined): boolean {
  return (
    request.complete ||
    (contentLength !== undefined && request.readableLength === Number(contentLength))
  );
}

/**
 * Small chunks are kept as one of so many bytes: a Buffer costs some hundred bytes beside its own.
 */
const JOINED_BYTES = 4096;
/** So many bytes or chunks of one turn go on before its end. */
const GATHERED_BYTES = 16 * 1024;
const GATHERED_CHUNKS = 256;

/**
 * The body of a request on its way up. What came with the head in one piece goes up with the head
 * in one piece; everything else is streamed as it comes. Until the answer's head is there, what was
 * sent is kept, within limits, because a reused connection may turn out to be dead.
 */
export class Upload {
  /** Bytes read from the client so far. */
  bytes = 0;
  /** When the request came, or the last chunk that was streamed; on the watched clock. */
  lastAt: number;
  readonly #request: IncomingMessage;
  readonly #contentLength: string | undefined;
  readonly #rules: UploadRules;
  readonly #onTooLarge: () => void;
  /** What has to pass before LiteLLM gets the end of the body; undefined: nothing. */
  readonly check: BodyCheck | undefined;
  /** A body that was there at once; kept until the answer begins. */
  #whole: Buffer | undefined;
  /** What a second try would send first; undefined: too much went by, or there was no room. */
  #kept: Buffer[] | undefined = [];
  #keptBytes = 0;
  #current: RequestBody | undefined;

  constructor(
    request: IncomingMessage,
    contentLength: string | undefined,
    rules: UploadRules,
    on: {
      readonly startedAt: number;
      readonly tooLarge: () => void;
      readonly check: BodyCheck | undefined;
    },
  ) {
    this.#request = request;
    this.#contentLength = contentLength;
    this.#rules = rules;
    this.#onTooLarge = on.tooLarge;
    this.check = on.check;
    this.lastAt = on.startedAt;
  }

  /** The body for the next try; `replayable` must hold unless that is the first one. */
  open(): Buffer | Readable {
    const request = this.#request;
    if (this.#whole !== undefined) return this.#whole;
    const isUnchecked = this.check === undefined;
    const isWhole = this.bytes === 0 && isAllHere(request, this.#contentLength);
    if (isWhole && (isUnchecked || this.check.isPlain)) {
      this.#whole = (request.read() as Buffer | null) ?? Buffer.alloc(0);
      if (this.#count(this.#whole)) this.#checkWhole(this.#whole);
      // With its body read the request ends, and its connection can serve the next.
      request.resume();
      return this.#whole;
    }
    const kept = this.#kept ?? [];
    if (request.readableEnded && isUnchecked) return Buffer.concat(kept);
    this.#current?.destroy();
    this.#current = new RequestBody(request, this, kept);
    return this.#current;
  }

  get replayable(): boolean {
    if (this.#whole !== undefined) return this.#whole.length <= this.#rules.replayBytes;
    return this.#kept !== undefined;
  }

  /** Whether all of the body was read, so that its connection can serve the next request. */
  get isHere(): boolean {
    return this.#request.complete || this.#whole !== undefined;
  }

  /** Whether the rest of the body is waited for, and the client is the one who is slow. */
  get waitsForClient(): boolean {
    return !this.#request.complete && this.#current !== undefined && !this.#request.isPaused();
  }

  /** A body that is refused is refused before the next line of whoever opened it. */
  #checkWhole(whole: Buffer): void {
    this.check?.read(whole);
    this.check?.end(() => undefined);
  }

  /** No second try will come: what was kept is let go. */
  release(): void {
    this.#rules.budget.give(this.#keptBytes);
    this.#keptBytes = 0;
    this.#kept = undefined;
    this.#whole = undefined;
  }

  /** Counts and keeps a chunk as it is streamed. Returns false where the body became too large. */
  note(chunk: Buffer): boolean {
    this.#keep(chunk);
    this.check?.read(chunk);
    this.lastAt = this.#rules.elapsed();
    return this.#count(chunk);
  }

  #count(chunk: Buffer): boolean {
    this.bytes += chunk.length;
    const { limit } = this.#rules;
    if (limit === 0 || this.bytes <= limit) return true;
    this.#onTooLarge();
    return false;
  }

  #keep(chunk: Buffer): void {
    if (this.#kept === undefined) return;
    const fits = this.#keptBytes + chunk.length <= this.#rules.replayBytes;
    if (!fits || !this.#rules.budget.take(chunk.length)) {
      this.release();
      return;
    }
    this.#keptBytes += chunk.length;
    const last = this.#kept.at(-1);
    if (last === undefined || last.length + chunk.length > JOINED_BYTES) this.#kept.push(chunk);
    else this.#kept[this.#kept.length - 1] = Buffer.concat([last, chunk]);
  }
}

/**
 * A stream of the request's body that can be destroyed without destroying the request: undici
 * destroys the body of what failed, and the client still has to be told. Small chunks of one turn
 * go on as one: 64 clients that cut their bodies into chunks of one byte took 3 GB.
 *
 * Of a body that is checked the latest chunk stays here until the next one comes, and the last one
 * until the body has passed: LiteLLM never has all of one that has not.
 */
class RequestBody extends Readable {
  readonly #source: IncomingMessage;
  readonly #upload: Upload;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #later: NodeJS.Immediate | undefined;
  /** The latest chunk of a body that is checked. */
  #heldBack: Buffer | undefined;
  /** What checks the body has enough to do. */
  #isBusy = false;
  readonly #detach: () => void;

  constructor(source: IncomingMessage, upload: Upload, first: readonly Buffer[]) {
    super();
    // undici takes its own listener away with the request; an error nobody hears ends the process.
    this.on('error', () => undefined);
    this.#source = source;
    this.#upload = upload;
    for (const chunk of first) this.#send(chunk);
    const onData = (chunk: Buffer): void => {
      const chunks = this.#gathered.push(chunk);
      this.#gatheredBytes += chunk.length;
      if (this.#gatheredBytes >= GATHERED_BYTES || chunks >= GATHERED_CHUNKS) this.#passOn();
      else this.#later ??= setImmediate(() => this.#passOn());
    };
    const onEnd = (): void => {
      this.#passOn();
      if (upload.check === undefined) this.push(null);
      else upload.check.end(() => this.#sendLast());
    };
    const onClose = (): void => {
      if (source.complete) return;
      upload.check?.close();
      this.destroy(new Error('the client left in the middle of its body'));
    };
    this.#detach = () => {
      source.off('data', onData).off('end', onEnd).off('close', onClose);
    };
    source.on('data', onData).on('end', onEnd).on('close', onClose);
    source.pause();
    // A second try, whose body is all here.
    if (source.readableEnded) onEnd();
  }

  #passOn(): void {
    const chunk = this.#take();
    if (chunk === undefined) return;
    const { check } = this.#upload;
    if (!this.#upload.note(chunk)) this.destroy(new Error('the body is too large'));
    else if (!this.#send(chunk)) this.#source.pause();
    if (check === undefined || check.isReady(() => this.#goOn())) return;
    this.#isBusy = true;
    this.#source.pause();
  }

  /** Sends a chunk, or the one before it. Returns false where LiteLLM is slower than the client. */
  #send(chunk: Buffer): boolean {
    if (this.#upload.check === undefined) return this.push(chunk);
    const before = this.#heldBack;
    this.#heldBack = chunk;
    return before === undefined || this.push(before);
  }

  #sendLast(): void {
    if (this.destroyed) return;
    if (this.#heldBack !== undefined) this.push(this.#heldBack);
    this.push(null);
  }

  #goOn(): void {
    this.#isBusy = false;
    if (!this.destroyed) this.#source.resume();
  }

  #take(): Buffer | undefined {
    const [first, ...others] = this.#gathered;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    clearImmediate(this.#later);
    this.#later = undefined;
    return first === undefined || others.length === 0 ? first : Buffer.concat([first, ...others]);
  }

  override _read(): void {
    if (!this.#isBusy) this.#source.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#detach();
    // A second try sends it.
    const rest = this.#take();
    if (rest !== undefined) this.#upload.note(rest);
    // After a refusal the rest of the request is read away: that must go on.
    if (this.#source.listenerCount('data') === 0) this.#source.pause();
    done(error);
  }
}
