import { write, writeSync } from 'node:fs';

/** Where finished lines go. */
export interface LineSink {
  /** Takes a line with its line feed; never waits, never throws. */
  write(line: string): void;
  /** Writes what is buffered before it returns; for the end of the process. Never throws. */
  flush(): void;
}

interface FileSinkOptions {
  /** Bytes that are gathered before a write; 0 writes each line as it comes. */
  readonly threshold: number;
  /** Told, once writing succeeds again, how many lines were lost meanwhile. */
  readonly onLost: (lines: number) => void;
}

/** The longest that a line waits for others, in milliseconds. */
const FLUSH_AFTER_MS = 200;
/** Bytes that wait for a reader that stalls, at most; lines beyond are lost and counted. */
const MAX_BUFFERED = 4 * 1024 * 1024;

/** Bytes of room above the threshold; a longer line makes the buffer grow once. */
const ROOM_FOR_ONE = 4096;

const countLines = (bytes: Buffer): number => bytes.toString().split('\n').length - 1;

/**
 * Lines to a file descriptor, gathered and written off the event loop: a log reader that stalls and
 * a disk that is full cost lines, never a request. It stands in for pino's own destination
 * (sonic-boom 4.2.1), whose flush at exit never returns once its reader is gone (EPIPE) or the disk
 * is full (ENOSPC).
 */
export const createFileSink = (fd: number, { threshold, onLost }: FileSinkOptions): LineSink => {
  const writer = createWriter(fd);
  const gather = createGather(threshold + ROOM_FOR_ONE);
  let timer: NodeJS.Timeout | undefined;
  let lost = 0;

  const start = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (gather.size() === 0 || !writer.isIdle()) return;
    const chunk = gather.take();
    writer.send(chunk, (error) => {
      if (error) lost += countLines(chunk);
      else reportLost();
      schedule();
    });
  };
  const schedule = (): void => {
    if (gather.size() === 0) return;
    if (gather.size() >= threshold && writer.isIdle()) start();
    else timer ??= setTimeout(start, FLUSH_AFTER_MS).unref();
  };
  const reportLost = (): void => {
    const lines = lost;
    lost = 0;
    if (lines > 0) onLost(lines);
  };

  return {
    write: (line) => {
      if (gather.size() >= MAX_BUFFERED) {
        lost += 1;
        return;
      }
      gather.append(line);
      schedule();
    },
    flush: () => {
      const waiting = writer.takeBack();
      writeAllSync(fd, Buffer.concat([waiting, gather.take()]));
    },
  };
};

/** UTF-8 has at most three bytes for a UTF-16 unit. */
const MOST_BYTES_A_UNIT = 3;

/**
 * Gathers lines outside the heap: strings that wait would live through collections of garbage, and
 * cost more there than all the rest of their making.
 *
 * @param capacity bytes to begin with; the buffer grows as it must
 */
const createGather = (capacity: number) => {
  let bytes = Buffer.allocUnsafeSlow(capacity);
  let size = 0;
  return {
    append: (line: string): void => {
      const most = size + line.length * MOST_BYTES_A_UNIT;
      if (most > bytes.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(most, bytes.length * 2));
        bytes.copy(larger, 0, 0, size);
        bytes = larger;
      }
      size += bytes.write(line, size);
    },
    /** Bytes that wait. */
    size: () => size,
    /** All that waits; nothing waits afterwards. */
    take: (): Buffer => {
      const taken = bytes.subarray(0, size);
      bytes = Buffer.allocUnsafeSlow(capacity);
      size = 0;
      return taken;
    },
  };
};

const NOTHING = Buffer.alloc(0);

/** Milliseconds until a pipe that was full (EAGAIN) is tried again. */
const RETRY_MS = 20;

/** One write at a time, off the event loop. */
export const createWriter = (fd: number) => {
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
    /** Only while idle; `tell` is told once whether all of it was written. */
    send: (bytes: Buffer, tell: (error: Error | null) => void): void => {
      rest = bytes;
      done = tell;
      go();
    },
    /** Gives back what waits for a full pipe, and is idle; empty while a write is under way. */
    takeBack: (): Buffer => {
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

const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EAGAIN';

const MAX_SYNC_RETRIES = 50;

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
