import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { closeFrame, createFrameTracker } from './frames.ts';

/** RFC 6455 §7.4.1: "going away", as a server that stops says. */
const GOING_AWAY = 1001;

/**
 * Stands for the client's socket towards http-proxy-3. It knows where one frame ends and the next
 * begins, so that a close frame can be put between two, and it can be taken away without the
 * socket: a connection to LiteLLM that failed may be tried again.
 */
export class Gate extends Duplex {
  bytesUp = 0;
  bytesDown = 0;
  readonly #socket: Socket;
  readonly #frames = createFrameTracker();
  /** Until the 101 everything is HTTP and passes as it is. */
  #open: 'no' | 'after_head' | 'yes' = 'no';
  #closing = false;
  #why = '';
  #closed = false;
  #released = false;
  readonly #detach: () => void;

  constructor(socket: Socket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    const onData = (chunk: Buffer): void => {
      this.bytesUp += chunk.length;
      if (!this.push(chunk)) socket.pause();
    };
    const onEnd = (): void => {
      this.push(null);
    };
    const onClose = (): void => {
      this.destroy();
    };
    const onError = (): void => undefined;
    socket.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onError);
    this.#detach = () => {
      socket.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onError);
    };
  }

  /** LiteLLM has said 101: the next write is that head, and frames follow. */
  opened(): void {
    this.#open = 'after_head';
  }

  get isOpen(): boolean {
    return this.#open !== 'no';
  }

  /** Sends 1001 to the client as soon as a frame ends; nothing of LiteLLM's follows it. */
  goAway(why: string): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#why = why;
    if (this.#open === 'yes' && this.#frames.atBoundary()) this.#sayGoodbye();
  }

  /** Leaves the socket to somebody else: what http-proxy-3 still does to the gate stays here. */
  release(): void {
    this.#released = true;
    this.#detach();
    this.#socket.pause();
  }

  override _read(): void {
    if (!this.#released) this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const out = this.#pass(chunk);
    if (out.length === 0 || this.#socket.destroyed) {
      done();
      return;
    }
    this.bytesDown += out.length;
    if (this.#socket.write(out)) done();
    else this.#socket.once('drain', () => done());
  }

  /** What of a chunk the client may still get. */
  #pass(chunk: Buffer): Buffer {
    if (this.#closed || this.#released) return Buffer.alloc(0);
    if (this.#open === 'no') return chunk;
    if (this.#open === 'after_head') {
      this.#open = 'yes';
      return this.#closing ? this.#withGoodbye(chunk) : chunk;
    }
    const read = this.#frames.read(chunk, this.#closing);
    if (!this.#closing || !this.#frames.atBoundary()) return chunk;
    return this.#withGoodbye(chunk.subarray(0, read));
  }

  #withGoodbye(last: Buffer): Buffer {
    this.#closed = true;
    return Buffer.concat([last, closeFrame(GOING_AWAY, this.#why)]);
  }

  #sayGoodbye(): void {
    this.#socket.write(this.#withGoodbye(Buffer.alloc(0)));
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.#released) this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    done(error);
  }

  // What http-proxy-3 asks of a socket besides.
  setTimeout(ms: number): this {
    this.#socket.setTimeout(ms);
    return this;
  }

  setNoDelay(on: boolean): this {
    this.#socket.setNoDelay(on);
    return this;
  }

  setKeepAlive(on: boolean, delayMs: number): this {
    this.#socket.setKeepAlive(on, delayMs);
    return this;
  }

  destroySoon(): void {
    this.end();
  }
}
