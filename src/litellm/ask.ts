import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { parseJson } from '../text/json.ts';

/** What LiteLLM, or whatever listens at its address, said to one question. */
export type LitellmAnswer =
  /** `json` is undefined where the body was no JSON, or longer than 4 MiB. */
  | { readonly kind: 'said'; readonly status: number; readonly json: unknown }
  /** Something answers, and what it says is not HTTP. */
  | { readonly kind: 'no_http' }
  /** Nobody listens, or no whole answer came in time. */
  | { readonly kind: 'silent' };

/** Bytes of an answer that are read: all models of all providers take less than 1 MiB. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Sends one GET on a connection of its own. Never rejects.
 *
 * @param timeoutMs Milliseconds from now to the end of the answer, with the look-up of the name.
 */
export async function ask(
  url: URL,
  headers: OutgoingHttpHeaders,
  timeoutMs: number,
): Promise<LitellmAnswer> {
  return await new Promise((resolve) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const isTalk = error.code?.startsWith('HPE_') === true;
      resolve({ kind: isTalk ? 'no_http' : 'silent' });
    };
    try {
      // A signal, because `timeout` of `request` counts pauses alone: an answer that comes by one
      // byte a second would never end.
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
      // Node throws at once where a header's value holds what no header can carry.
      fail(error as NodeJS.ErrnoException);
    }
  });
}

/** Rejects where the body breaks off. */
async function jsonOf(answer: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    size += chunk.length;
    // To leave the loop closes the connection.
    if (size > MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return parseJson(Buffer.concat(chunks).toString('utf8'));
}

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

/** A `URL` keeps the brackets of an IPv6 address, and a socket takes it without. */
const bareHost = (origin: URL): string => origin.hostname.replace(/^\[(.*)\]$/, '$1');
