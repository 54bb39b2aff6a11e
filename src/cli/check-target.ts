import type { Secret } from '../secret.ts';

/** Which gateway to check, and as whom. */
export interface CheckTarget {
  readonly url: URL;
  readonly key: Secret;
  /** For people: where the key was found. */
  readonly keySource: string;
}
