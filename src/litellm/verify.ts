import { generateKey } from '../keyring/key.ts';
import type { Secret } from '../secret.ts';
import { fieldOf } from '../text/json.ts';
import { cut, printable } from '../text/safe.ts';
import { type Answer, ask } from './ask.ts';

/** What a LiteLLM shows of itself when it is asked with the key that it was given. */
export type Verdict =
  /** It lists these models with its key, and refuses one that was made up. */
  | { readonly kind: 'good'; readonly models: readonly string[] }
  /** Nothing listens, or nothing was said in time. */
  | { readonly kind: 'silent' }
  /** It answers, and does not take the key that stands in its slot. */
  | { readonly kind: 'refuses_key'; readonly status: number }
  | { readonly kind: 'accepts_any_key' }
  | { readonly kind: 'no_models' }
  /** It answers, and not as LiteLLM does; the status is 0 where that is no HTTP. */
  | { readonly kind: 'not_litellm'; readonly status: number };

/** What the launcher left of the LiteLLM that it started last in a slot. Untrusted text. */
export interface SlotReport {
  /** Of the slot's content that it was started with; '' where that may not be read. */
  readonly slotId: string;
  /** 1: its first start with that content; each death adds one. */
  readonly attempt: number;
  /** Its last lines, without control characters and whatever may be a key; at most 20. */
  readonly lines: readonly string[];
  /** Its exit status; undefined: it runs. */
  readonly endedWith: number | undefined;
  /** The port on which it said that it listens. */
  readonly port: number | undefined;
}

export interface Verification {
  readonly origin: URL;
  /** '' or '/llm'. */
  readonly rootPath: string;
  /** The one that stands in the slot. */
  readonly key: Secret;
  /** The one header that LiteLLM was configured to read; undefined: its own carriers. */
  readonly keyHeader: string | undefined;
  /** The Host that the sidecar sends it; the origin's where nothing is said. */
  readonly host?: string;
  /** Milliseconds that each of two answers may take; 5,000 where nothing is said. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 5000;
const MOST_MODELS = 1000;
const LONGEST_NAME = 200;

/**
 * Looks once at a LiteLLM: does it list models with its key, and refuse a key that was made up? One
 * that takes any key is called so even where it lists nothing. Never rejects.
 */
export async function verifyLitellm(options: Verification): Promise<Verdict> {
  const { origin, rootPath, keyHeader, host, timeoutMs = TIMEOUT_MS } = options;
  const url = new URL(`${rootPath}/v1/models`, origin);
  const askWith = (key: string): Promise<Answer> => {
    // LiteLLM wants `Bearer` in a header of another name, too.
    const headers = { [keyHeader ?? 'authorization']: `Bearer ${key}` };
    return ask(url, host === undefined ? headers : { ...headers, host }, timeoutMs);
  };

  const found = modelsIn(await askWith(options.key.reveal()));
  if ('kind' in found) return found;
  const fault = faultOfStranger(await askWith(generateKey()));
  if (fault !== undefined) return fault;
  return found.length === 0 ? { kind: 'no_models' } : { kind: 'good', models: found };
}

/** What the answer to the slot's own key lists, or why it lists nothing. */
function modelsIn(answer: Answer): readonly string[] | Verdict {
  if (answer.kind !== 'said') return unheard(answer);
  const { status, json } = answer;
  if (refusesKey(status, json)) return { kind: 'refuses_key', status };
  // It starts, or its database is away.
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

/** What is wrong where a key that nobody ever had was shown; undefined: it was refused. */
function faultOfStranger(answer: Answer): Verdict | undefined {
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
