/** How LiteLLM's providers say that a key of theirs is nowhere to be found. */
const IS_MISSING =
  /missing credentials|missing \S+ api key|must be set|no key is set|is not set|not found in env/i;
/** A variable that holds a provider's key. */
const VARIABLE = /\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:API_KEY|ACCESS_KEY_ID|TOKEN|KEY)\b/;

/**
 * The variable that a model's provider misses, by the words of a failed request; undefined: it
 * failed for another reason. A model that nobody gave a key to is not set up, rather than broken.
 */
export function missingCredential(error: string): string | undefined {
  return IS_MISSING.test(error) ? VARIABLE.exec(error)?.[0] : undefined;
}
