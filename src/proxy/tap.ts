import type { Transform } from 'node:stream';
import type { Route, SaysUsage } from '../litellm/routes-table.ts';
import {
  costOf,
  NO_TOKENS,
  type Usage,
  type UsageFault,
  type UsageReader,
  type UsageReading,
} from '../litellm/usage.ts';
import { EventUsage } from '../litellm/usage-events.ts';
import { JsonUsage } from '../litellm/usage-json.ts';
import type { RefusalCode } from '../refusal.ts';
import { decoderOf } from './content-coding.ts';
import type { AnswerHead } from './headers.ts';
import { isSuccess, mayTell } from './record.ts';

/** Bytes of an answer, decoded, that are looked at: a bomb is a thousand times its size. */
const MOST_DECODED = 32 * 1024 * 1024;
/** Bytes that may wait to be decoded; their client has them already. */
const MOST_WAITING = 1024 * 1024;
/** Answers that are decoded at a time: each takes 50 KB and a share of Node's four threads. */
const MOST_DECODERS = 64;
/** Milliseconds that an exchange waits for the rest of its answer to be decoded. */
const DECODING_MS = 2000;

/** In all of the process. */
let decoders = 0;

/** Who is told what an answer said. */
export interface TapOwner {
  usage: Usage | undefined;
  usageFault: UsageFault | undefined;
  /** Whether it may have used something that nobody said: limits count it all the same. */
  unsaid: boolean;
  chunks: number;
  /** Changed where another model went on with a stream. */
  model: string;
}

/** Only a POST uses something: a GET of a stored response shows again what was used once. */
export const saysUsage = (route: Route, method: string): SaysUsage =>
  method === 'POST' ? route.saysUsage : 'never';

/** @returns undefined where the answer says no usage: it costs nothing then */
export const createTap = (says: SaysUsage, head: TappedHead): Tap | undefined =>
  mayTell(says) ? new Tap(head, says === 'always') : undefined;

/** Refusals of a request that LiteLLM had, and may be working on still. */
const AFTER_SENT: ReadonlySet<RefusalCode | undefined> = new Set([
  ...(['upstream_timeout', 'upstream_failed'] as const),
]);

/** Whether a request may have used something of which there is no answer that could tell. */
export const usesUntold = (
  says: SaysUsage,
  end: {
    /** LiteLLM had it, and the client left before an answer began. */
    readonly isUnanswered: boolean;
    readonly refusal: RefusalCode | undefined;
    readonly status: number;
  },
): boolean =>
  says !== 'never' &&
  (end.isUnanswered || AFTER_SENT.has(end.refusal) || (says === 'unsaid' && isSuccess(end.status)));

/** What a tap has to know of an answer's head. */
type TappedHead = Pick<AnswerHead, 'eventStream' | 'encoding' | 'cost'>;

/**
 * Reads the usage out of one answer while its bytes go to the client: it is shown each piece after
 * that was sent on, and changes none. Its memory is that of a window, whatever the answer's length.
 */
export class Tap {
  readonly #eventStream: boolean;
  readonly #cost: string;
  readonly #isExpected: boolean;
  readonly #reader: UsageReader;
  readonly #decoding: Decoding | undefined;

  constructor({ eventStream, encoding, cost }: TappedHead, isExpected: boolean) {
    this.#eventStream = eventStream;
    this.#cost = cost;
    this.#isExpected = isExpected;
    this.#reader = eventStream ? new EventUsage() : new JsonUsage();
    const isEncoded = encoding !== '' && encoding !== 'identity';
    if (isEncoded) this.#decoding = new Decoding(this.#reader, encoding);
  }

  /** Returns whether an event with data began in these bytes; of encoded ones nobody knows. */
  read(chunk: Buffer): boolean {
    if (this.#decoding === undefined) return this.#reader.read(chunk);
    this.#decoding.write(chunk);
    return false;
  }

  /**
   * Tells what the answer said.
   *
   * @param whole whether the answer came to its end
   * @param done called at once; where the answer is encoded, within two seconds
   */
  end(whole: boolean, owner: TapOwner, done: () => void): void {
    if (this.#decoding === undefined) {
      this.#tell(this.#reader.end(whole), whole, owner);
      done();
    } else {
      this.#decoding.end(whole, (reading) => {
        this.#tell(reading, whole, owner);
        done();
      });
    }
  }

  #tell(reading: UsageReading, whole: boolean, owner: TapOwner): void {
    const { chunks, model } = this.#reader;
    owner.chunks = chunks;
    if (model !== '') owner.model = model;
    if ('tokens' in reading) {
      const costUsd = costOf(this.#cost, reading.cost, this.#eventStream);
      owner.usage = { tokens: reading.tokens, costUsd };
      return;
    }
    const { fault } = reading;
    if (this.#isExpected || fault === 'invalid') owner.usageFault = fault;
    owner.unsaid = owner.usageFault !== undefined || fault === 'cut' || !whole;
    // A picture has a price and perhaps no tokens, and what could not be read may have one, too.
    const costUsd = costOf(this.#cost, undefined, this.#eventStream) ?? 0;
    if (costUsd > 0) owner.usage = { tokens: NO_TOKENS, costUsd };
  }
}

const ENCODING: UsageReading = { fault: 'encoding' };

/** Decodes an answer aside; what is more than it can take makes it give up. */
class Decoding {
  readonly #reader: UsageReader;
  #decoder: Transform | undefined;
  #decoded = 0;

  constructor(reader: UsageReader, encoding: string) {
    this.#reader = reader;
    if (decoders >= MOST_DECODERS) return;
    const decoder = decoderOf(encoding);
    if (decoder === undefined) return;
    decoders++;
    this.#decoder = decoder;
    decoder.once('close', () => decoders--);
    decoder.on('error', () => this.#giveUp());
    decoder.on('data', (chunk: Buffer) => {
      this.#decoded += chunk.length;
      if (this.#decoded > MOST_DECODED) this.#giveUp();
      else reader.read(chunk);
    });
  }

  write(chunk: Buffer): void {
    if (this.#decoder === undefined) return;
    if (this.#decoder.writableLength > MOST_WAITING) this.#giveUp();
    else this.#decoder.write(chunk);
  }

  end(whole: boolean, done: (reading: UsageReading) => void): void {
    const decoder = this.#decoder;
    if (decoder === undefined) {
      done(ENCODING);
      return;
    }
    const late = setTimeout(() => this.#giveUp(), DECODING_MS);
    // Part of an answer has part of an encoding, which is an error at its end.
    decoder.once('close', () => {
      clearTimeout(late);
      const isRead = this.#decoder !== undefined || !whole;
      done(isRead ? this.#reader.end(whole) : ENCODING);
    });
    decoder.end();
  }

  #giveUp(): void {
    this.#decoder?.destroy();
    this.#decoder = undefined;
  }
}
