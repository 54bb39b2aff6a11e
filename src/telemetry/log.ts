import { crc32 } from 'node:zlib';
import { pino } from 'pino';
import type { Clock } from '../clock.ts';
import type { Usage } from '../litellm/usage.ts';
import type { ExchangeRecord } from '../proxy/record.ts';
import { cut, mayHoldKey, redact } from '../text/safe.ts';
import { createFileSink, type LineSink } from './log-destination.ts';

type LogFields = Readonly<Record<string, unknown>>;

export interface LogOptions {
  readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  /** Turns JSON lines into lines for a person at a terminal; without it they stay JSON. */
  readonly prettify?: ((line: string) => string) | undefined;
  /** A file descriptor, or what takes text (a test's array, a stream). */
  readonly destination: number | { write(text: string): unknown };
  readonly clock: Clock;
  /** Without it every access line is written. */
  readonly sampling?: AccessSampling;
}

/** Which access lines are written; never fewer than all of refusals, errors and slow exchanges. */
interface AccessSampling {
  /** Of the other lines: 0 to 1. */
  readonly share: number;
  /** Milliseconds; 0: none is slow. */
  readonly slowMs: number;
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
  const { sampling } = options;
  const pick = sampling === undefined || sampling.share === 1 ? undefined : createPick(sampling);

  const log = {
    info: (fields: LogFields, message: string): void => lines.info(fields, message),
    warn: (fields: LogFields, message: string): void => lines.warn(fields, message),
    error: (fields: LogFields, message: string): void => lines.error(fields, message),
    /** One line to an exchange, at level `info`. */
    access(record: ExchangeRecord): void {
      if (!lines.isLevelEnabled('info')) return;
      const mark = pick === undefined ? '' : pick(record);
      if (mark === undefined) return;
      const line = accessLine(record, timestamp(), mark);
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

/** What makes a number of 32 bits of a share. */
const SHARES = 2 ** 32;

/**
 * Picks the access lines to write. Which of the ordinary ones it picks is a matter of their trace:
 * two sidecars that one request goes through write its line both, or neither.
 *
 * @returns what marks a line, by which its like can be counted: '' where each is written; undefined
 *   where the line is left out
 */
const createPick = ({ share, slowMs }: AccessSampling) => {
  const mark = `,"sample":${share}`;
  return (record: ExchangeRecord): string | undefined => {
    const { status, refusal, outcome, traceId, id } = record;
    const isOrdinary =
      refusal === undefined && outcome === 'answered' && status > 0 && status < 400;
    if (!isOrdinary || (slowMs > 0 && waitOf(record) >= slowMs)) return '';
    return crc32(traceId === '' ? id : traceId) < share * SHARES ? mark : undefined;
  };
};

/** Until something came: how long a stream goes on after that is what its client asked for. */
const waitOf = ({ firstChunkMs, firstByteMs, durationMs }: ExchangeRecord): number => {
  if (firstChunkMs >= 0) return firstChunkMs;
  return firstByteMs >= 0 ? firstByteMs : durationMs;
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
 * request. All of its texts that are not quoted here come from closed sets of plain words.
 *
 * @param time as pino puts it into a line
 * @param mark what stands before the end
 */
const accessLine = (record: ExchangeRecord, time: string, mark: string): string => {
  const { client, generation, method, template, slot, status, refusal, outcome } = record;
  let line = `{"level":"info"${time},"id":${quoted(record.id)}`;
  if (record.traceId !== '') line += `,"traceId":"${record.traceId}"`;
  if (record.callId !== '') line += `,"callId":${quoted(record.callId)}`;
  if (record.providerId !== '') line += `,"providerId":${quoted(record.providerId)}`;
  line += `,"client":"${client}"`;
  line += `,"generation":"${generation}","method":"${method}","route":"${template}"`;
  line += `,"slot":"${slot}","status":${status}`;
  if (refusal !== undefined) line += `,"refusal":"${refusal}"`;
  if (record.limit !== undefined) line += `,"limit":"${record.limit}"`;
  if (outcome !== 'answered') line += `,"outcome":"${outcome}"`;
  if (record.abortReason !== undefined) line += `,"abortReason":${quoted(record.abortReason)}`;
  if (record.model !== '') line += `,"model":${quotedModel(record.model)}`;
  if (record.usage !== undefined) line += usageFields(record.usage);
  if (record.usageFault !== undefined) line += `,"usageFault":"${record.usageFault}"`;
  line += `,"durationMs":${round(record.durationMs)}`;
  if (record.firstByteMs >= 0) line += `,"firstByteMs":${round(record.firstByteMs)}`;
  if (record.firstChunkMs >= 0) line += `,"firstChunkMs":${round(record.firstChunkMs)}`;
  if (record.chunks > 0) line += `,"chunks":${record.chunks}`;
  if (record.upstreamMs >= 0) line += `,"upstreamMs":${round(record.upstreamMs)}`;
  line += `,"requestBytes":${record.requestBytes},"responseBytes":${record.responseBytes}`;
  return `${line},"address":${quoted(record.address)}${mark},"msg":"request"}\n`;
};

/** No tokens at all: only the price is known. Parts of them are named where there are any. */
const usageFields = ({ tokens, costUsd }: Usage): string => {
  const { input, output } = tokens;
  let fields = input + output === 0 ? '' : `,"inputTokens":${input},"outputTokens":${output}`;
  if (tokens.cached > 0) fields += `,"cachedTokens":${tokens.cached}`;
  if (tokens.cacheWrite > 0) fields += `,"cacheWriteTokens":${tokens.cacheWrite}`;
  if (tokens.reasoning > 0) fields += `,"reasoningTokens":${tokens.reasoning}`;
  return costUsd === undefined ? fields : `${fields},"costUsd":${costUsd}`;
};

/** Nearly every id and every address is like this: it needs no quotes within, and is no key. */
const HARMLESS = /^[\da-f.:-]*$/;
const PLAIN = /^[\w./:-]*$/;

/** Characters of such a text that are kept: LiteLLM takes call ids of 256 from its clients. */
const MOST_TEXT = 256;

/** Quotes a text that a caller or LiteLLM chose, and takes out what looks like a key. */
const quoted = (text: string): string =>
  text.length <= MOST_TEXT && (HARMLESS.test(text) || (PLAIN.test(text) && !mayHoldKey(text)))
    ? `"${text}"`
    : JSON.stringify(cut(redact(text), MOST_TEXT));

/** Models are few and repeat: what stands for one is looked up, not made again. */
const quotedModels = new Map<string, string>();
const MOST_MODELS = 1000;

const quotedModel = (model: string): string => {
  const known = quotedModels.get(model);
  if (known !== undefined) return known;
  const made = quoted(model);
  // Names that somebody invents must not fill the memory.
  if (quotedModels.size < MOST_MODELS && model.length <= MOST_TEXT) quotedModels.set(model, made);
  return made;
};

/** The access line for a person at a terminal: what one looks for first, and the rest behind it. */
const withSentence = (line: string): string => {
  const { method, route, status, durationMs, generation, ...rest } = JSON.parse(line);
  const msg = `${method} ${route} ${status} ${durationMs} ms ${generation}`;
  return `${JSON.stringify({ ...rest, msg })}\n`;
};

/** What stands behind the whole milliseconds, by microseconds: '', `.5`, `.123`. */
const FRACTIONS = Array.from({ length: 1000 }, (_, us) => String(us / 1000).slice(1));

/** Whole microseconds are enough. To make the text of a fraction takes a tenth of the line. */
const round = (ms: number): string => {
  const us = Math.round(ms * 1000);
  const whole = Math.trunc(us / 1000);
  return `${whole}${FRACTIONS[us - whole * 1000]}`;
};

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
