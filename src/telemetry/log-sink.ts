import { createWriter, writeAllSync } from './log-writer.ts';

/** Where finished lines go. */
export interface LineSink {
  /** Takes a line with its line feed; never waits, never throws. */
  write(line: string): void;
  /** Writes what is buffered before it returns; for the end of the process. Never throws. */
  flush(): void;
}

export interface FileSinkOptions {
  /** Characters that are gathered before a write; 0 writes each line as it comes. */
  readonly threshold: number;
  /** Told, once writing succeeds again, how many lines were lost meanwhile. */
  readonly onLost: (lines: number) => void;
}

/** No line waits longer for others. */
const FLUSH_AFTER_MS = 200;
/**
 * What a reader that stalls may cost in memory, in characters; lines beyond are lost and counted.
 */
const MAX_BUFFERED = 4 * 1024 * 1024;

const countLines = (bytes: Buffer): number => bytes.toString().split('\n').length - 1;

/**
 * Lines to a file descriptor, gathered and written off the event loop: a log reader that stalls and
 * a disk that is full cost lines, never a request. It stands in for pino's own destination
 * (sonic-boom 4.2.1), whose flush at exit never returns once its reader is gone (EPIPE) or the disk
 * is full (ENOSPC).
 */
export const createFileSink = (fd: number, { threshold, onLost }: FileSinkOptions): LineSink => {
  const writer = createWriter(fd);
  let buffer = '';
  let timer: NodeJS.Timeout | undefined;
  let lost = 0;

  const start = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (buffer === '' || !writer.isIdle()) return;
    const chunk = Buffer.from(buffer);
    buffer = '';
    writer.send(chunk, (error) => {
      if (error) lost += countLines(chunk);
      else reportLost();
      schedule();
    });
  };
  const schedule = (): void => {
    if (buffer === '') return;
    if (buffer.length >= threshold && writer.isIdle()) start();
    else timer ??= setTimeout(start, FLUSH_AFTER_MS).unref();
  };
  const reportLost = (): void => {
    const lines = lost;
    lost = 0;
    if (lines > 0) onLost(lines);
  };

  return {
    write: (line) => {
      if (buffer.length >= MAX_BUFFERED) {
        lost += 1;
        return;
      }
      buffer += line;
      schedule();
    },
    flush: () => {
      const waiting = writer.takeBack();
      const rest = Buffer.from(buffer);
      buffer = '';
      writeAllSync(fd, Buffer.concat([waiting, rest]));
    },
  };
};
