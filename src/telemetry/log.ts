import { pino } from 'pino';
import type { Clock } from '../clock.ts';
import type { ExchangeRecord } from '../proxy/record.ts';
import { redact } from '../text/safe.ts';
import { createFileSink, type LineSink } from './log-destination.ts';

type LogFields = Readonly<Record<string, unknown>>;

export interface LogOptions {
  readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  /** Turns JSON lines into lines for a person at a terminal; without it they stay JSON. */
  readonly prettify?: ((line: string) => string) | undefined;
  /** A file descriptor, or what takes text (a test's array, a stream). */
  readonly destination: number | { write(text: string): unknown };
  readonly clock: Clock;
}

/**
 * The sidecar's log. No line holds anything that looks like a key. An error goes into the field
 * `err`. Lines reach a file descriptor within 200 ms; none of these waits or throws.
 */
export type Log = ReturnType<typeof createLog>;

/** Makes a log; `level` is the least that is written. */
export const createLog = (options: LogOptions) => {
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
    redact: { paths: [...REDACTED_PATHS], censor: '[redacted]' },
  };
  const lines = pino(settings, sink);
  const isJson = options.prettify === undefined;

  const log = {
    info: (fields: LogFields, message: string): void => lines.info(fields, message),
    warn: (fields: LogFields, message: string): void => lines.warn(fields, message),
    error: (fields: LogFields, message: string): void => lines.error(fields, message),
    /** One line to an exchange, at level `info`. */
    access(record: ExchangeRecord): void {
      if (!lines.isLevelEnabled('info')) return;
      const line = accessLine(record, timestamp());
      sink.write(isJson ? line : finish(withSentence(line)));
    },
    /** Writes what is buffered before it returns: the last thing that a process does. */
    flush: sink.flush,
  };
  return log;
};

/** Bytes of about two hundred access lines, which go in one write: each wakes another thread. */
const GATHERED = 65_536;

const createSink = (options: LogOptions, onLost: (lines: number) => void): LineSink => {
  const { destination } = options;
  if (typeof destination === 'number') {
    const threshold = options.prettify === undefined ? GATHERED : 0;
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
const createFinish = ({ prettify }: LogOptions): ((line: string) => string) =>
  prettify === undefined ? redact : (line) => prettify(redact(line));

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

/** Makes the `prettify` of a log. pino-pretty is loaded here: no container needs it. */
export const loadPrettifier = async (colour: boolean): Promise<(line: string) => string> => {
  const { default: pinoPretty } = await import('pino-pretty');
  return pinoPretty.prettyFactory({
    colorize: colour,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
  });
};

/** Headers that carry keys and cookies: LiteLLM's own carriers, and those of the providers. */
const HEADERS = [
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-litellm-api-key',
  'litellm_user_api_key',
  'api-key',
  'x-api-key',
  'x-goog-api-key',
  'ocp-apim-subscription-key',
  'sec-websocket-protocol',
];

/** Fields that are never logged, for pino's `redact`: at the top of a line and two levels down. */
const REDACTED_PATHS = HEADERS.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]);

/**
 * The access line as pino would write it in JSON, at a quarter of the cost: there is one to each
 * request. All but three of its texts come from closed sets of plain words.
 *
 * @param time as pino puts it into a line
 */
const accessLine = (record: ExchangeRecord, time: string): string => {
  const { client, generation, method, template, slot, status, refusal, outcome } = record;
  let line = `{"level":"info"${time},"id":${quoted(record.id)},"client":"${client}"`;
  line += `,"generation":"${generation}","method":"${method}","route":"${template}"`;
  line += `,"slot":"${slot}","status":${status}`;
  if (refusal !== undefined) line += `,"refusal":"${refusal}"`;
  if (outcome !== 'answered') line += `,"outcome":"${outcome}"`;
  if (record.model !== '') line += `,"model":${quoted(record.model)}`;
  line += `,"durationMs":${round(record.durationMs)}`;
  if (record.firstByteMs >= 0) line += `,"firstByteMs":${round(record.firstByteMs)}`;
  line += `,"requestBytes":${record.requestBytes},"responseBytes":${record.responseBytes}`;
  return `${line},"address":${quoted(record.address)},"msg":"request"}\n`;
};

/** Nearly every text is like this: it needs no quoting, and the one key it may hold is `sk-…`. */
const PLAIN = /^[\w./:-]*$/;
const KEY_LIKE = /sk-/i;

/** Quotes a text that a caller or LiteLLM chose, and takes out what looks like a key. */
const quoted = (text: string): string =>
  PLAIN.test(text) && !KEY_LIKE.test(text) ? `"${text}"` : redact(JSON.stringify(text));

/** The access line for a person at a terminal: what one looks for first, and the rest behind it. */
const withSentence = (line: string): string => {
  const { method, route, status, durationMs, generation, ...rest } = JSON.parse(line);
  const msg = `${method} ${route} ${status} ${durationMs} ms ${generation}`;
  return `${JSON.stringify({ ...rest, msg })}\n`;
};

/** Whole microseconds are enough. */
const round = (ms: number): number => Math.round(ms * 1000) / 1000;

/** What a log line says of an error. */
interface ErrorFields {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: ErrorFields;
  /** Of an AggregateError: a connect that failed on every address has no message but these. */
  readonly errors?: readonly ErrorFields[];
}

/** Causes below causes, and errors of an AggregateError, that a line shows. */
const MAX_DEPTH = 5;
const MAX_ERRORS = 8;

/**
 * Takes from an error what is named here and nothing else: errors of undici and http-proxy-3 carry
 * requests, headers and sockets, and with them keys. Their texts are redacted with the whole line.
 */
const describeError = (error: unknown, depth = 0): ErrorFields => {
  if (!(error instanceof Error)) return describeOther(error);
  const { code } = error as { code?: unknown };
  const deeper = depth < MAX_DEPTH;
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' && { code }),
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(deeper && error.cause !== undefined && { cause: describeError(error.cause, depth + 1) }),
    ...(deeper &&
      error instanceof AggregateError && {
        errors: error.errors.slice(0, MAX_ERRORS).map((each) => describeError(each, depth + 1)),
      }),
  };
};

/** Of a thrown object that is no error only the kind is told, because it may hold a key. */
const describeOther = (thrown: unknown): ErrorFields => ({
  type: typeof thrown,
  message:
    typeof thrown === 'object' || typeof thrown === 'function'
      ? Object.prototype.toString.call(thrown)
      : String(thrown),
});
