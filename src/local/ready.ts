import { setTimeout as pause } from 'node:timers/promises';
import { CommandError, EXIT } from '../cli/exit-code.ts';

/** LiteLLM takes 6 s, and up to a minute on a slow machine without a way to the internet. */
const PATIENCE_MS = 5 * 60_000;
const BETWEEN_MS = 200;
const ONE_LOOK_MS = 2000;

/**
 * Resolves once `/readyz` of the sidecar says 200. Rejects with the reason of `signal`, or with a
 * `CommandError` after five minutes. `look` is called before each try.
 */
export async function untilReady(
  ops: string,
  signal: AbortSignal,
  look: () => void,
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    signal.throwIfAborted();
    look();
    if (await answers(`${ops}/readyz`, signal)) return;
    // The next turn says why it was aborted.
    await pause(BETWEEN_MS, undefined, { signal }).catch(() => undefined);
  }
  throw new CommandError('litellm did not come up within 5 minutes', EXIT.failed);
}

async function answers(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ONE_LOOK_MS)]);
    const response = await fetch(url, { signal: limit });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}
