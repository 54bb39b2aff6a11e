import type { Secret } from '../secret.ts';
import { type UpstreamKeyField, upstreamKeyFields } from './upstream-key.ts';

/** Which of two keys: as they were given, not as they go. */
export type KeyRank = 'first' | 'second';

/** A key that LiteLLM may run with; the same one as long as it is live, in whichever order. */
export interface UpstreamKey {
  readonly field: UpstreamKeyField;
}

/** The keys that one LiteLLM may run with: one, or two while its key changes. */
export interface LiveKeys {
  /** The one that LiteLLM took last, or the first. */
  readonly best: UpstreamKey;
  /** Undefined: there is one key, and nothing to find out. */
  readonly other: UpstreamKey | undefined;
  use(first: Secret, second: Secret | undefined): void;
  /** With which a request goes; after a refusal it is not the one that was refused. */
  pick(refused: UpstreamKey | undefined): UpstreamKey;
  /** LiteLLM took a key; one that is used no more says nothing. */
  noteAccepted(key: UpstreamKey): void;
}

/** Milliseconds: who was told that a key is good needs no reminder for each request. */
const TELL_EVERY_MS = 1000;

/**
 * @param options.onAccepted told while there are two keys: of each change at once, otherwise once a
 *   second
 */
export function createLiveKeys(
  key: Secret,
  options: {
    keyHeader: string | undefined;
    elapsed: () => number;
    onAccepted: (rank: KeyRank) => void;
  },
): LiveKeys {
  const made = (secret: Secret): UpstreamKey => ({
    field: upstreamKeyFields(secret, options.keyHeader),
  });
  let first = made(key);
  let best = first;
  let other: UpstreamKey | undefined;
  let told: { readonly key: UpstreamKey; readonly at: number } | undefined;

  /** What is under way with a key speaks of it after a change of the order, too. */
  const knownOrMade = (secret: Secret): UpstreamKey => {
    const fresh = made(secret);
    return [best, other].find((known) => known !== undefined && isSame(known, fresh)) ?? fresh;
  };

  return {
    get best() {
      return best;
    },
    get other() {
      return other;
    },
    use(one, two) {
      [first, other] = [knownOrMade(one), two && knownOrMade(two)];
      best = first;
      told = undefined;
    },
    pick(refused) {
      return refused === best && other !== undefined ? other : best;
    },
    noteAccepted(accepted) {
      if (other === undefined || (accepted !== best && accepted !== other)) return;
      if (accepted === other) [best, other] = [other, best];
      const now = options.elapsed();
      if (told?.key === accepted && now - told.at < TELL_EVERY_MS) return;
      told = { key: accepted, at: now };
      options.onAccepted(accepted === first ? 'first' : 'second');
    },
  };
}

const isSame = (one: UpstreamKey, another: UpstreamKey): boolean =>
  one.field('bearer', false)[1] === another.field('bearer', false)[1];
