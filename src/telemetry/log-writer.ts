import { write, writeSync } from 'node:fs';

/** A pipe that is full and does not block (EAGAIN) is tried again after this. */
const RETRY_MS = 20;
const MAX_SYNC_RETRIES = 50;

const NOTHING = Buffer.alloc(0);

const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EAGAIN';

const sleep = (ms: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
};

/** Writes all of it before it returns, or what a second allows; never throws. */
export const writeAllSync = (fd: number, bytes: Buffer): void => {
  let rest = bytes;
  let retries = 0;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      retries += 1;
      if (!isBusy(error) || retries > MAX_SYNC_RETRIES) return;
      sleep(RETRY_MS);
    }
  }
};

/** One write at a time, off the event loop. */
export interface Writer {
  isIdle(): boolean;
  /** Only while idle; `done` is told once whether all of it was written. */
  send(bytes: Buffer, done: (error: Error | null) => void): void;
  /** Gives back what still waits for a full pipe, and is idle; empty where a write is under way. */
  takeBack(): Buffer;
}

export const createWriter = (fd: number): Writer => {
  let rest: Buffer = NOTHING;
  let done: ((error: Error | null) => void) | undefined;
  let retry: NodeJS.Timeout | undefined;

  const end = (error: Error | null): void => {
    const tell = done;
    done = undefined;
    rest = NOTHING;
    tell?.(error);
  };
  const go = (): void => {
    retry = undefined;
    write(fd, rest, (error, written) => {
      if (isBusy(error)) {
        retry = setTimeout(go, RETRY_MS).unref();
        return;
      }
      if (error) return end(error);
      rest = rest.subarray(written);
      if (rest.length > 0) go();
      else end(null);
    });
  };

  return {
    isIdle: () => done === undefined,
    send: (bytes, tell) => {
      rest = bytes;
      done = tell;
      go();
    },
    takeBack: () => {
      if (retry === undefined) return NOTHING;
      clearTimeout(retry);
      retry = undefined;
      const waiting = rest;
      rest = NOTHING;
      done = undefined;
      return waiting;
    },
  };
};
