import { stripVTControlCharacters } from 'node:util';

/** Any text on one line; control characters (escape sequences too) do not reach the terminal. */
export function oneLine(text: string, longest = LONGEST): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  const flat = text.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
  return flat.length > longest ? `${flat.slice(0, longest - 1).trimEnd()}…` : flat;
}

/** The longest error that is kept; tables cut it further. */
const LONGEST = 1000;

/**
 * What may be a key, wherever it stands: LiteLLM's and OpenAI's form, a Bearer credential, Google's
 * `?key=`. No pattern crosses a quote or a backslash, so that a JSON line stays one.
 */
const SUSPECT = /sk-[\w-]{8,}|(bearer\s+)[^\s"\\]+|([?&]key=)[^\s"\\&#]+/gi;

/** The text with everything that may be a key replaced by `[redacted]`. */
export const redact = (text: string): string =>
  // Nearly every line is clean, and to search costs half of what to replace does.
  text.search(SUSPECT) < 0 ? text : text.replace(SUSPECT, '$1$2[redacted]');

/** The prefixes of providers' keys and tokens; `sk-…` and `Bearer …` are `redact`'s. */
const PREFIXES = [
  ...['AIza', 'AKIA', 'ASIA', 'nvapi-', 'gsk_', 'hf_', 'xai-', 'pplx-', 'pk-lf-', 'eyJ'],
  ...['gh[pousr]_', 'github_pat_', 'glpat-', 'xox[abp]-', 'ya29\\.'],
];
const PREFIXED = new RegExp(`\\b(?:${PREFIXES.join('|')})[\\w.-]{12,}`, 'g');

/** `OPENAI_API_KEY=…`, `api_key: …`, `"password": "…"`: the name says what the value is. */
const OF_KEYS = /(?:api|master|salt|access|secret|private|auth|client)[_-]?(?:key|token|secret)/;
const NAME = `(?:${OF_KEYS.source}|passw(?:or)?d|secret)`;
/** A switch has such a name, too, and a reference to the environment says no more than its name. */
const HARMLESS = /(?:true|false|none|null|os\.environ\/\w+)(?![^\s"',;}\]])/;
const NAMED = new RegExp(
  `(${NAME}["']?\\s*[=:]\\s*["']?)(?!${HARMLESS.source})[^\\s"',;}\\]]+`,
  'gi',
);

/** `postgresql://user:password@host`. */
const IN_URL = /(:\/\/)[^\s/@"']+@/g;

/** A line of somebody's log, without whatever may be a key, a token or a password in it. */
export const withoutKeys = (line: string): string =>
  redact(line)
    .replace(IN_URL, '$1[redacted]@')
    .replace(NAMED, '$1[redacted]')
    .replace(PREFIXED, '[redacted]');

// Invisible ones too: they hide from people what a line says, or turn it around.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Untrusted text as one printable line: no escape sequence, no control character is left. */
export const printable = (text: string): string =>
  stripVTControlCharacters(text).replaceAll('\t', ' ').replace(UNPRINTABLE, '');

/** At most so many characters, the last of them `…` where something was cut off. */
export function cut(text: string, longest: number): string {
  // A character takes up to two units of a string.
  if (text.length <= longest) return text;
  const characters = Array.from(text.slice(0, 2 * longest + 2));
  if (characters.length <= longest) return text;
  return `${characters.slice(0, longest - 1).join('')}…`;
}
