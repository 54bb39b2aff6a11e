import { pino } from 'pino';
import type { Clock } from '../clock.ts';
import type { ExchangeRecord } from '../proxy/record.ts';
import { accessLine, accessSentence, type LogFields } from './log-access.ts';
import { describeError } from './log-error.ts';
import { createPrettifier } from './log-pretty.ts';
import { REDACTED_PATHS, redact } from './log-redact.ts';
import { createFileSink, type LineSink } from './log-sink.ts';

export interface LogOptions {
  readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  /** JSON lines, or lines for a person at a terminal. */
  readonly format: 'json' | 'pretty';
  /** A file descriptor, or what takes text (a test's array, a stream). */
  readonly destination: number | { write(text: string): unknown };
  readonly clock: Clock;
  /** Whether pretty lines have colours; without it they have. */
  readonly colour?: boolean;
}

/**
 * The sidecar's log. No line holds anything that looks like a key. An error goes into the field
 * `err`. Lines reach a file descriptor within 200 ms; none of these waits or throws.
 */
export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** One line to an exchange, at level `info`. */
  access(record: ExchangeRecord): void;
  /** Writes what is buffered before it returns: the last thing that a process does. */
  flush(): void;
}

/** About two hundred access lines to a write: each write wakes another thread. */
const GATHERED = 65_536;

const createSink = (options: LogOptions, onLost: (lines: number) => void): LineSink => {
  const { destination } = options;
  if (typeof destination === 'number') {
    const threshold = options.format === 'pretty' ? 0 : GATHERED;
    return createFileSink(destination, { threshold, onLost });
  }
  return {
    write: (line) => {
      destination.write(line);
    },
    flush: () => {},
  };
};

/** The last step of every line: after it nothing can add a key. */
const createFinish = (options: LogOptions): ((line: string) => string) => {
  if (options.format === 'json') return redact;
  const prettify = createPrettifier(options.colour ?? true);
  return (line) => prettify(redact(line));
};

/** ISO 8601 in UTC; all but its milliseconds is made once a second. */
const createTimestamp = ({ now }: Clock): (() => string) => {
  let second = Number.NaN;
  let start = '';
  return () => {
    const at = now();
    const current = Math.floor(at / 1000);
    if (current !== second) {
      second = current;
      start = `,"time":"${new Date(current * 1000).toISOString().slice(0, -4)}`;
    }
    return `${start}${String(Math.floor(at - current * 1000)).padStart(3, '0')}Z"`;
  };
};

/** Makes a log; `level` is the least that is written. */
export const createLog = (options: LogOptions): Log => {
  const sink = createSink(options, (lines) => log.warn({ lines }, 'log lines were lost'));
  const finish = createFinish(options);
  const timestamp = createTimestamp(options.clock);
  const settings = {
    level: options.level,
    base: null,
    timestamp,
    formatters: { level: (level: string) => ({ level }) },
    serializers: { err: (error: unknown) => describeError(error) },
    hooks: { streamWrite: finish },
  };
  const lines = pino(
    { ...settings, redact: { paths: [...REDACTED_PATHS], censor: '[redacted]' } },
    sink,
  );
  // Its fields are known and hold no header: `redact` by path would cost more than the line itself.
  const access = pino(settings, sink);

  const log: Log = {
    debug: (fields, message) => lines.debug(fields, message),
    info: (fields, message) => lines.info(fields, message),
    warn: (fields, message) => lines.warn(fields, message),
    error: (fields, message) => lines.error(fields, message),
    access:
      options.format === 'json'
        ? (record) => {
            if (access.isLevelEnabled('info')) sink.write(accessLine(record, timestamp()));
          }
        : (record) => access.info(...accessSentence(record)),
    flush: sink.flush,
  };
  return log;
};
