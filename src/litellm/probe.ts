import { request } from 'node:http';
import { connect } from 'node:net';
import { afterReading } from '../clock.ts';

/** Milliseconds between two questions, until LiteLLM has answered and whenever it is away. */
const UNTIL_UP_MS = 500;
/** Milliseconds between two questions while LiteLLM answers; traffic finds out before that. */
const STEADY_MS = 10_000;
const TIMEOUT_MS = 3000;
/**
 * A silent LiteLLM counts as away from this question in a row on: its one event loop stops for
 * seconds when it makes a page or a tokenizer, and works on afterwards.
 */
const SILENCES = 3;

/**
 * Asks LiteLLM now and then whether it lives: at once, then twice a second until the first answer,
 * then each ten seconds.
 */
export function createProbe(options: {
  origin: URL;
  rootPath: string;
  /** Milliseconds that an answer may take; 3,000 where nothing is said. */
  timeoutMs?: number;
  /** Somebody else has just heard LiteLLM answer: it is up until a question shows otherwise. */
  knownUp?: boolean;
  /** Called with each change, the first answer included where nothing was known before. */
  onChange: (up: boolean) => void;
}) {
  let up = options.knownUp ?? false;
  let known = up;
  let answered = up;
  let stopped = false;
  let asking = false;
  let silences = 0;
  let timer: NodeJS.Timeout | undefined;
  const root = new URL(`${options.rootPath}/`, options.origin);

  const note = (isUp: boolean): void => {
    const changed = isUp !== up || !known;
    answered ||= isUp;
    up = isUp;
    known = true;
    if (changed) options.onChange(up);
  };

  const look = async (): Promise<void> => {
    if (asking || stopped) return;
    asking = true;
    clearTimeout(timer);
    const health = await askHealth(root, options.timeoutMs ?? TIMEOUT_MS);
    asking = false;
    if (stopped) return;
    silences = health === 'silent' ? silences + 1 : 0;
    const busy = up && silences > 0 && silences < SILENCES;
    note(health === 'alive' || busy);
    timer = setTimeout(() => void look(), answered && up ? STEADY_MS : UNTIL_UP_MS);
  };
  void look();

  return {
    /** What the last answer, or the last refused connection, said; false before any. */
    up: () => up,
    /** Whether LiteLLM has answered since this process began; it stays so. */
    answeredOnce: () => answered,
    /** Asks at once instead of at the next turn, because traffic saw LiteLLM go or come. */
    wake: () => void look(),
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

export type Probe = ReturnType<typeof createProbe>;

/** `silent`: it took the question and said nothing in time, so it may only be busy. */
type Health = 'alive' | 'silent' | 'away';

/**
 * Asks a LiteLLM whether it lives, without a key and without a call to any provider
 * (litellm/proxy/health_endpoints). Whatever answers below 500 is alive.
 *
 * @param root LiteLLM's own, with a slash at the end
 */
export async function askHealth(root: URL, timeoutMs: number): Promise<Health> {
  return await new Promise((resolve) => {
    const asked = request(new URL('health/liveliness', root), { agent: false }, (answer) => {
      answer.resume();
      resolve((answer.statusCode ?? 500) < 500 ? 'alive' : 'away');
    });
    const callOff = afterReading(timeoutMs, () => {
      resolve('silent');
      asked.destroy();
    });
    asked.once('error', () => resolve('away')).once('close', callOff);
    asked.end();
  });
}

/** Whether something takes connections at an origin; a name that does not resolve is a no. */
export async function canConnect(origin: URL, timeoutMs: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const port = Number(origin.port === '' ? 80 : origin.port);
    const socket = connect({ host: bareHost(origin), port });
    const settle = (reached: boolean) => (): void => {
      callOff();
      socket.destroy();
      resolve(reached);
    };
    const callOff = afterReading(timeoutMs, settle(false));
    socket.once('connect', settle(true)).once('error', settle(false));
  });
}

/** A `URL` keeps the brackets of an IPv6 address, and a socket takes it without. */
const bareHost = (origin: URL): string => origin.hostname.replace(/^\[(.*)\]$/, '$1');
