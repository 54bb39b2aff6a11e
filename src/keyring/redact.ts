/**
 * What may be a key, wherever it stands: LiteLLM's and OpenAI's form, a Bearer credential, Google's
 * `?key=`. No pattern crosses a quote or a backslash, so that a JSON line stays one.
 */
const SUSPECT = /sk-[\w-]{8,}|(bearer\s+)[^\s"\\]+|([?&]key=)[^\s"\\&#]+/gi;

/** The text with everything that may be a key replaced by `[redacted]`. */
export const redact = (text: string): string =>
  // Nearly every line is clean, and to search costs half of what to replace does.
  text.search(SUSPECT) < 0 ? text : text.replace(SUSPECT, '$1$2[redacted]');
