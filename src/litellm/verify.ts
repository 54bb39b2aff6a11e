import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { afterReading } from '../clock.ts';
import { generateKey } from '../keyring/key.ts';
import type { Secret } from '../secret.ts';
import { cut, fieldOf, parseJson, printable } from '../text/safe.ts';

/** What one look at a LiteLLM shows, with the key that it was given and with one made up. */
export type Verdict =
  /** It lists these models with its key, and refuses a key that was made up. */
  | { readonly kind: 'good'; readonly models: readonly string[] }
  /** Nothing listens, or nothing was said in time. */
  | { readonly kind: 'silent' }
  /** It answers, and does not take the key that stands in its slot. */
  | { readonly kind: 'refuses_key'; readonly status: number }
  | { readonly kind: 'accepts_any_key' }
  | { readonly kind: 'no_models' }
  /** It answers, and not as LiteLLM does; the status is 0 where the answer is not HTTP. */
  | { readonly kind: 'not_litellm'; readonly status: number };

export interface Verification {
  readonly origin: URL;
  /** '' or '/llm'. */
  readonly rootPath: string;
  /** The key that LiteLLM was started with. */
  readonly key: Secret;
  /** The one header in which LiteLLM was configured to look for keys; undefined: its own. */
  readonly keyHeader: string | undefined;
  /** The Host that the sidecar sends with requests; the origin's where nothing is said. */
  readonly host?: string;
  /** Milliseconds that each of two answers may take; 5,000 where nothing is said. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 5000;
/** Models of a verdict, and characters of a name: both stand in the state file and on screens. */
export const MOST_MODELS = 1000;
const LONGEST_NAME = 200;

/**
 * Looks once at a LiteLLM: does it list models with its key, and refuse a key that was made up? A
 * LiteLLM that takes any key is called so even where it lists no model. Never rejects.
 */
export async function verifyLitellm(options: Verification): Promise<Verdict> {
  const found = await tryKey(options);
  if (found.kind !== 'good' && found.kind !== 'no_models') return found;
  return faultIn(await askForModels(options, generateKey())) ?? found;
}

/** Looks once at a LiteLLM: does it list models with its key? Never rejects. */
export async function tryKey(options: Verification): Promise<Verdict> {
  const found = modelsIn(await askForModels(options, options.key.reveal()));
  if ('kind' in found) return found;
  return found.length === 0 ? { kind: 'no_models' } : { kind: 'good', models: found };
}

function askForModels(options: Verification, key: string): Promise<Answer> {
  const { origin, rootPath, keyHeader, host, timeoutMs = TIMEOUT_MS } = options;
  const headers = {
    // LiteLLM expects `Bearer` in a configured header, too.
    [keyHeader ?? 'authorization']: `Bearer ${key}`,
    'user-agent': 'litellm-sidecar-probe',
    ...(host !== undefined && { host }),
  };
  return ask(new URL(`${rootPath}/v1/models`, origin), headers, timeoutMs);
}

/** The models in the answer to LiteLLM's own key, or what is wrong with that answer. */
function modelsIn(answer: Answer): readonly string[] | Verdict {
  if (answer.kind !== 'said') return unheard(answer);
  const { status, json } = answer;
  if (refusesKey(status, json)) return { kind: 'refuses_key', status };
  // LiteLLM starts, or its database is away.
  if (status >= 500) return { kind: 'silent' };
  const data = fieldOf(json, 'data');
  if (status !== 200 || !Array.isArray(data)) return { kind: 'not_litellm', status };
  const names = data
    .map((entry) => fieldOf(entry, 'id'))
    .filter((id) => typeof id === 'string')
    .map((id) => cut(printable(id), LONGEST_NAME))
    .filter((name) => name !== '');
  return [...new Set(names)].sort().slice(0, MOST_MODELS);
}

/** What is wrong with the answer to a key that was made up; undefined: that key was refused. */
function faultIn(answer: Answer): Verdict | undefined {
  if (answer.kind !== 'said') return unheard(answer);
  const { status } = answer;
  if (status >= 400 && status < 500) return undefined;
  if (status >= 500) return { kind: 'silent' };
  return status < 300 ? { kind: 'accepts_any_key' } : { kind: 'not_litellm', status };
}

const unheard = ({ kind }: Exclude<Answer, { kind: 'said' }>): Verdict =>
  kind === 'silent' ? { kind: 'silent' } : { kind: 'not_litellm', status: 0 };

/** Without a database LiteLLM has no 401 for a key that is not its master key. */
const refusesKey = (status: number, json: unknown): boolean =>
  status === 401 ||
  status === 403 ||
  (status === 400 && fieldOf(fieldOf(json, 'error'), 'type') === 'no_db_connection');

/**
 * What LiteLLM's readiness says of its database (litellm/proxy/health_endpoints,
 * `_resolve_public_readiness_db`). A LiteLLM whose database is away answers with 503, and has one
 * all the same.
 */
const HAS_DATABASE: ReadonlyMap<unknown, boolean> = new Map([
  ['Not connected', false],
  ['connected', true],
  ['disconnected', true],
  ['stalled', true],
]);

/**
 * Asks a LiteLLM whether it has a database, without a key. `undefined`: it did not say, because it
 * starts or stops, or because something else answers. Never rejects.
 *
 * @param options.rootPath '' or '/llm'.
 * @param options.timeoutMs Milliseconds; 5,000 where nothing is said, because LiteLLM itself waits
 *   4 s for a database.
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

/**
 * Asks a LiteLLM for its version, with its key. `undefined`: it did not say, or in another form.
 * Never rejects.
 */
export async function askVersion(options: Verification): Promise<string | undefined> {
  const { origin, rootPath, key, keyHeader, host, timeoutMs = TIMEOUT_MS } = options;
  const url = new URL(`${rootPath}/health/readiness/details`, origin);
  const headers = { [keyHeader ?? 'authorization']: `Bearer ${key.reveal()}` };
  const answer = await ask(url, host === undefined ? headers : { ...headers, host }, timeoutMs);
  if (answer.kind !== 'said') return undefined;
  const version = fieldOf(answer.json, 'litellm_version');
  return typeof version === 'string' && /^[\w.+-]{1,40}$/.test(version) ? version : undefined;
}

/** What LiteLLM, or whatever listens at its address, said to one question. */
type Answer =
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
async function ask(url: URL, headers: OutgoingHttpHeaders, timeoutMs: number): Promise<Answer> {
  return await new Promise((resolve) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const isTalk = error.code?.startsWith('HPE_') === true;
      resolve({ kind: isTalk ? 'no_http' : 'silent' });
    };
    try {
      const asked = request(url, { agent: false, headers }, (answer) => {
        jsonOf(answer).then(
          (json) => resolve({ kind: 'said', status: answer.statusCode ?? 0, json }),
          fail,
        );
      });
      // `timeout` of `request` counts pauses alone: an answer that comes by one byte a second would
      // never end.
      const callOff = afterReading(timeoutMs, () => asked.destroy(new Error('too late')));
      asked.on('error', fail).once('close', callOff).end();
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
