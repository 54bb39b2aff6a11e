import { ask, fieldOf } from './ask.ts';

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
