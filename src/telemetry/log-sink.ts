import { createGather } from './log-gather.ts';
import { createWriter, writeAllSync } from './log-writer.ts';

/** Where finished lines go. */
export interface LineSink {
  /** Takes a line with its line feed; never waits, never throws. */
  write(line: string): void;
  /** Writes what is buffered before it returns; for the end of the process. Never throws. */
  flush(): void;
}

export interface FileSinkOptions {
  /** Bytes that are gathered before a write; 0 writes each line as it comes. */
  readonly threshold: number;
  /** Told, once writing succeeds again, how many lines were lost meanwhile. */
  readonly onLost: (lines: number) => void;
}

/** No line waits longer for others. */
const FLUSH_AFTER_MS = 200;
/**
 * What a reader that stalls may cost in memory, in bytes; lines beyond are lost and counted.
 */
const MAX_BUFFERED = 4 * 1024 * 1024;

/** Bytes: a line longer than that makes the buffer grow once. */
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
