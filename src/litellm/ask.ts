import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { fieldOf, parseJson } from '../text/json.ts';

/** Whether something takes connections at an origin; a name that does not resolve is a no. */
export async function canConnect(origin: URL, timeoutMs: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const port = Number(origin.port === '' ? 80 : origin.port);
    const socket = connect({ host: bareHost(origin), port, timeout: timeoutMs });
    const settle = (reached: boolean) => () => {
      socket.destroy();
      resolve(reached);
    };
    socket.once('connect', settle(true)).once('error', settle(false));
    socket.once('timeout', settle(false));
  });
}

/** `URL` keeps the brackets of an IPv6 address; sockets want none. */
const bareHost = (origin: URL): string => origin.hostname.replace(/^\[(.*)\]$/, '$1');

export type Health = 'alive' | 'silent' | 'away';

/**
 * Asks LiteLLM (at its root, with a slash at the end) whether it lives, without a key and without a
 * call to any provider (litellm/proxy/health_endpoints). Whatever answers below 500 is alive; what
 * takes the question and says nothing in time is silent, and may only be busy.
 */
export async function askHealth(origin: URL, timeoutMs: number): Promise<Health> {
  return await new Promise((resolve) => {
    const asked = request(
      new URL('health/liveliness', origin),
      { agent: false, timeout: timeoutMs },
      (answer) => {
        answer.resume();
        resolve((answer.statusCode ?? 500) < 500 ? 'alive' : 'away');
      },
    );
    asked.once('error', () => resolve('away'));
    asked.once('timeout', () => {
      resolve('silent');
      asked.destroy();
    });
    asked.end();
  });
}

/** What LiteLLM, or whatever listens at its address, said to one question. */
export type Answer =
  /** `json` is undefined where the body was no JSON, or longer than 4 MiB. */
  | { readonly kind: 'said'; readonly status: number; readonly json: unknown }
  /** It talks, and not HTTP. */
  | { readonly kind: 'no_http' }
  /** Nobody there, or no whole answer in time. */
  | { readonly kind: 'silent' };

/** A list of all the models of all the providers takes less than one. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * One GET on a connection of its own. Never rejects.
 *
 * @param timeoutMs Milliseconds to the end of the answer, name look-up included.
 */
export async function ask(
  url: URL,
  headers: OutgoingHttpHeaders,
  timeoutMs: number,
): Promise<Answer> {
  return await new Promise((resolve) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const isTalk = error.code?.startsWith('HPE_') === true;
      resolve({ kind: isTalk ? 'no_http' : 'silent' });
    };
    try {
      // Not its `timeout`, which is of the pauses: one who sends a byte a second has time for ever.
      const signal = AbortSignal.timeout(timeoutMs);
      request(url, { agent: false, headers, signal }, (answer) => {
        jsonOf(answer).then(
          (json) => resolve({ kind: 'said', status: answer.statusCode ?? 0, json }),
          fail,
        );
      })
        .on('error', fail)
        .end();
    } catch (error) {
      // A header that cannot be sent.
      fail(error as NodeJS.ErrnoException);
    }
  });
}

/** Rejects where the body does not come whole. */
async function jsonOf(answer: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    size += chunk.length;
    // Leaving the loop closes the connection.
    if (size > MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return parseJson(Buffer.concat(chunks).toString('utf8'));
}

const TIMEOUT_MS = 5000;

/**
 * The words of LiteLLM's `db` (litellm/proxy/health_endpoints, `_resolve_public_readiness_db`). One
 * that is away answers with 503, and is a database all the same.
 */
const HAS_DATABASE: ReadonlyMap<unknown, boolean> = new Map([
  ['Not connected', false],
  ['connected', true],
  ['disconnected', true],
  ['stalled', true],
]);

/**
 * Asks a LiteLLM whether it has a database, without a key. `undefined`: it did not say, since it
 * starts, stops, or is none. Never rejects.
 *
 * @param options.rootPath '' or '/llm'.
 * @param options.timeoutMs Milliseconds; 5,000 where nothing is said (it waits 4 s for a database).
 */
export async function askReadiness(options: {
  readonly origin: URL;
  readonly rootPath: string;
  readonly timeoutMs?: number;
}): Promise<{ readonly database: boolean | undefined }> {
  const url = new URL(`${options.rootPath}/health/readiness`, options.origin);
  const answer = await ask(url, {}, options.timeoutMs ?? TIMEOUT_MS);
  if (answer.kind !== 'said' || ![200, 503].includes(answer.status)) return { database: undefined };
  return { database: HAS_DATABASE.get(fieldOf(answer.json, 'db')) };
}
