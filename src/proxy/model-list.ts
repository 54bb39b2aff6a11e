import type { MayUseModel } from '../keyring/model-globs.ts';
import { onlyModels } from '../litellm/model-lists.ts';
import { type Refusal, refusal } from '../refusal.ts';
import type { Attempt, AttemptOwner } from './attempt.ts';
import { isSuccess } from './record.ts';

/** Bytes of an answer that lists models; LiteLLM's of a thousand models has half a megabyte. */
const LONGEST = 4 * 1024 * 1024;

/** Who hears the answer, and may be told that there is none. */
interface ListOwner extends AttemptOwner {
  /** Gives up on an answer of which nothing was sent. */
  abandon(reason: Refusal): void;
}

/**
 * Listens in front of an exchange whose answer lists models: it keeps that answer until all of it
 * is here, and hands on those that the client may use. What is no success goes on as it comes.
 */
export class ModelListAnswer implements AttemptOwner {
  readonly #listener: ListOwner;
  readonly #mayUse: MayUseModel;
  #head: { status: number; statusText: string; raw: readonly Buffer[] } | undefined;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(listener: ListOwner, mayUse: MayUseModel) {
    this.#listener = listener;
    this.#mayUse = mayUse;
  }

  onAnswerHead(status: number, statusText: string, raw: readonly Buffer[]): void {
    if (isSuccess(status)) this.#head = { status, statusText, raw };
    else this.#listener.onAnswerHead(status, statusText, raw);
  }

  onAnswerData(chunk: Buffer): boolean {
    if (this.#head === undefined) return this.#listener.onAnswerData(chunk);
    this.#length += chunk.length;
    if (this.#length > LONGEST) this.#listener.abandon(unreadable('is longer than 4 MiB'));
    else this.#chunks.push(chunk);
    return true;
  }

  onAnswerEnd(rawTrailers: readonly (Buffer | string)[]): void {
    const head = this.#head;
    if (head === undefined) {
      this.#listener.onAnswerEnd(rawTrailers);
      return;
    }
    const text = isEncoded(head.raw) ? '' : Buffer.concat(this.#chunks).toString();
    const listed = onlyModels(text, this.#mayUse);
    if (listed === undefined) {
      this.#listener.abandon(unreadable('cannot be read'));
      return;
    }
    const body = Buffer.from(listed);
    this.#listener.onAnswerHead(head.status, head.statusText, withLength(head.raw, body.length));
    this.#listener.onAnswerData(body);
    this.#listener.onAnswerEnd([]);
  }

  onAttemptError(attempt: Attempt, error: Error): void {
    this.#listener.onAttemptError(attempt, error);
  }
}

const unreadable = (why: string): Refusal =>
  refusal('upstream_failed', `LiteLLM's list of models ${why}, and this key may use some only`);

/** Fields that speak of the bytes as LiteLLM sent them. */
const OF_BYTES = /^(?:content-length|content-md5|content-digest|digest|etag|transfer-encoding)$/i;

/** Fields of a head as undici read them: name, value, name, value. */
function withLength(raw: readonly Buffer[], length: number): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = EMPTY, value = EMPTY] = raw.slice(at, at + 2);
    if (!OF_BYTES.test(name.toString('latin1'))) out.push(name, value);
  }
  return [...out, Buffer.from('content-length'), Buffer.from(String(length))];
}

const EMPTY = Buffer.alloc(0);

/** It was asked for as it is; LiteLLM compresses the pages of its dashboard alone. */
const isEncoded = (raw: readonly Buffer[]): boolean =>
  raw.some((field, at) => at % 2 === 0 && field.toString('latin1').toLowerCase() === CODING);
const CODING = 'content-encoding';
