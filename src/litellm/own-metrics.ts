import { createHash } from 'node:crypto';
import { type IncomingMessage, request } from 'node:http';
import { afterReading } from '../clock.ts';

/** LiteLLM's own `/metrics`, about to be read; or why there is none, in words for an operator. */
export type OwnMetrics =
  | { readonly type: string; readonly body: AsyncIterable<Buffer> }
  | { readonly fault: string };

interface OwnMetricsOptions {
  readonly origin: URL;
  /** '' or '/llm'. */
  readonly rootPath: string;
  /** The field that carries LiteLLM's key, as `['authorization', 'Bearer sk-…']`. */
  readonly keyField: readonly [name: string, value: string];
  /** The Host that the sidecar sends with requests. */
  readonly host: string;
  /** What the scraper accepts, as it came. */
  readonly accept: string | undefined;
  /** The scraper has gone. */
  readonly signal: AbortSignal;
  /** Milliseconds to the end of the answer; 20,000 where nothing is said. */
  readonly timeoutMs?: number;
  /** Bytes of the answer; 64 MiB where nothing is said. */
  readonly mostBytes?: number;
}

/** Twice what Prometheus waits for by default. */
const TIMEOUT_MS = 20_000;
/** Some 200,000 series. */
const MOST_BYTES = 64 * 1024 * 1024;

/**
 * Asks a LiteLLM for its own metrics. What comes is passed on as it comes, without the key and its
 * digest, should they stand there (LiteLLM's issue 26484); it breaks off where it is too much or
 * takes too long. Never rejects; the iteration of `body` does.
 */
export async function openOwnMetrics(options: OwnMetricsOptions): Promise<OwnMetrics> {
  // LiteLLM mounts it with a slash and answers the path without one with a redirect, to whatever
  // Host it was sent: that is not followed, both are asked.
  for (const path of ['/metrics/', '/metrics']) {
    const answer = await ask(new URL(`${options.rootPath}${path}`, options.origin), options);
    if (typeof answer === 'string') return { fault: answer };
    const { statusCode: status = 0, headers } = answer;
    const type = headers['content-type'] ?? '';
    if (status === 200 && isExposition(type) && headers['content-encoding'] === undefined) {
      return { type, body: masked(answer, options) };
    }
    answer.destroy();
    if (status < 300 || status >= 400) return { fault: faultOf(status) };
  }
  return { fault: faultOf(200) };
}

/** Resolves to the head of the answer, or to why none came. */
async function ask(url: URL, options: OwnMetricsOptions): Promise<IncomingMessage | string> {
  const { keyField, host, accept, signal, timeoutMs = TIMEOUT_MS } = options;
  const [name, value] = keyField;
  return await new Promise((resolve) => {
    const headers = { [name]: value, host, ...(accept !== undefined && { accept }) };
    try {
      const asked = request(url, { agent: false, headers, signal }, resolve);
      const callOff = afterReading(timeoutMs, () => {
        resolve(`LiteLLM did not answer within ${timeoutMs / 1000} s`);
        asked.destroy(new Error('LiteLLM took too long for its metrics'));
      });
      asked.on('error', () => resolve('LiteLLM does not answer')).once('close', callOff);
      asked.end();
    } catch {
      // Node throws at once where a field holds what no header can carry.
      resolve('LiteLLM cannot be asked with the key that is set');
    }
  });
}

/** Prometheus' text format, or OpenMetrics: nothing that a browser would show as a page. */
const isExposition = (type: string): boolean =>
  /^(?:text\/plain|application\/openmetrics-text)(?:;[\w .=;"-]*)?$/i.test(type);

const faultOf = (status: number): string => {
  if (status === 401 || status === 403) return "LiteLLM refuses the sidecar's key";
  if (status === 404) {
    return 'LiteLLM has no metrics: they need callbacks: ["prometheus"] in its litellm_settings';
  }
  if (status === 200) return 'what LiteLLM answers are no metrics';
  return `LiteLLM answered with ${status}`;
};

/** @yields the body, with every character of the key and of its digest replaced by `*` */
async function* masked(
  answer: IncomingMessage,
  { keyField, mostBytes = MOST_BYTES }: OwnMetricsOptions,
): AsyncGenerator<Buffer> {
  const key = keyField[1].replace(/^\w+ /, '');
  const secrets = [key, createHash('sha256').update(key).digest('hex')].map((it) =>
    Buffer.from(it),
  );
  /** So much is kept back: the beginning of a secret may stand at the end of a chunk. */
  const most = Math.max(...secrets.map(({ length }) => length)) - 1;
  let kept: Buffer = Buffer.alloc(0);
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > mostBytes) throw new Error('LiteLLM has more metrics than are passed on');
    const bytes = Buffer.concat([kept, chunk]);
    for (const secret of secrets) {
      let at = bytes.indexOf(secret);
      for (; at >= 0; at = bytes.indexOf(secret, at)) bytes.fill('*', at, at + secret.length);
    }
    const end = Math.max(0, bytes.length - most);
    yield bytes.subarray(0, end);
    kept = bytes.subarray(end);
  }
  yield kept;
}
