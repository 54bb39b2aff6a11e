import type { Verdict } from '../litellm/verify.ts';
import type { Secret } from '../secret.ts';
import { createWakes } from '../turns.ts';

interface KeyCheckOptions {
  /** What requests carry to LiteLLM: one key, or two while its key changes. */
  readonly keys: () => { readonly first: Secret; readonly second: Secret | undefined };
  /** Asks LiteLLM for its models with this key; never rejects. */
  readonly ask: (key: Secret) => Promise<Verdict>;
  /** Told of each change; `status` is that of LiteLLM's refusal. */
  readonly onChange: (isTaken: boolean, status: number) => void;
}

/** Milliseconds to the next question: while LiteLLM is silent, while it refuses, and in between. */
const SILENT_MS = 2000;
const REFUSED_MS = 15_000;
const TAKEN_MS = 10 * 60_000;

/**
 * Asks somebody else's LiteLLM now and then whether it takes the sidecar's key. Nobody else finds
 * out: LiteLLM's health routes want none, and clients read its refusals as ones of their own key.
 */
export function createKeyCheck({ keys, ask, onChange }: KeyCheckOptions) {
  let isTaken: boolean | undefined;
  const wakes = createWakes(async () => {
    const { first, second } = keys();
    const verdict = await ask(first);
    const other = verdict.kind === 'refuses_key' && second ? await ask(second) : verdict;
    if (wakes.isClosed() || other.kind === 'silent' || other.kind === 'not_litellm') {
      return SILENT_MS;
    }
    const isRefused = other.kind === 'refuses_key';
    // That a key is taken is worth a word only where it was not.
    if (isTaken === isRefused || (isTaken === undefined && isRefused)) {
      onChange(!isRefused, isRefused ? other.status : 0);
    }
    isTaken = !isRefused;
    return isRefused ? REFUSED_MS : TAKEN_MS;
  });
  return {
    start: wakes.start,
    /** Another key may count: it is asked about at once. */
    look: () => wakes.wakeIn(0),
    /** Whether LiteLLM took the key when it was asked last; undefined: it has not said yet. */
    isTaken: () => isTaken,
    close: wakes.close,
  };
}
