import { stripVTControlCharacters } from 'node:util';

/** The longest text that `oneLine` keeps where its caller names no limit. */
const LONGEST_LINE = 1000;

/**
 * Any text on one line, for a terminal: white space and control characters become spaces, so that
 * no escape sequence begins, and what follows the `longest` characters is cut off.
 */
export function oneLine(text: string, longest = LONGEST_LINE): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  const flat = text.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
  return flat.length > longest ? `${flat.slice(0, longest - 1).trimEnd()}…` : flat;
}

/** Invisible characters too: they hide from people what a line says, or turn it around. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * A line of a stranger's text without whole escape sequences, control characters and invisible
 * ones, for a file or an answer that somebody else shows.
 */
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

/** The prefixes of providers' keys and tokens, beside those that stand in `SUSPECT`. */
const PREFIXES = [
  ...['AIza', 'AKIA', 'ASIA', 'nvapi-', 'gsk_', 'hf_', 'xai-', 'pplx-', 'pk-lf-', 'eyJ'],
  ...['gh[pousr]_', 'github_pat_', 'glpat-', 'xox[abp]-', 'ya29\\.'],
];
/** Behind a digit, too: of `%22` in a URL, for one. */
const PREFIXED = new RegExp(`(?<![A-Za-z])(?:${PREFIXES.join('|')})[\\w.-]{12,}`, 'g');

/** `task-42`, `/mnt/disk-storage` are none, unless what follows is as long as a key. */
const LITELLMS = /sk-(?:(?<!\b(?:ta|di|ri|de|ma|fla)sk-)[\w-]{8,}|\w{20}[\w-]*)/;

/**
 * What may be a key, wherever it stands: LiteLLM's and OpenAI's form, a Bearer credential, Google's
 * `?key=`. No pattern crosses a quote or a backslash, so that a JSON line stays one.
 */
const SUSPECT = new RegExp(
  `${LITELLMS.source}|(bearer\\s+)[^\\s"\\\\]+|([?&]key=)[^\\s"\\\\&#]+`,
  'gi',
);

/** Whether something in a text may be a key. */
export const mayHoldKey = (text: string): boolean =>
  text.search(SUSPECT) >= 0 || text.search(PREFIXED) >= 0;

/** The text with everything that may be a key replaced by `[redacted]`. */
export const redact = (text: string): string =>
  // Nearly every line is clean, and a search costs half of what a replacement does.
  mayHoldKey(text) ? text.replace(SUSPECT, '$1$2[redacted]').replace(PREFIXED, '[redacted]') : text;

/** `OPENAI_API_KEY=…`, `api_key: …`, `"password": "…"`: the name says what the value is. */
const OF_KEYS = /(?:api|master|salt|access|secret|private|auth|client)[_-]?(?:key|token|secret)/;
const NAME = `(?:${OF_KEYS.source}|passw(?:or)?d|secret)`;
/** Values that tell nothing: those of a switch, and the name of a variable of the environment. */
const HARMLESS = /(?:true|false|none|null|os\.environ\/\w+)(?![^\s"',;}\]])/;
const NAMED = new RegExp(
  `(${NAME}["']?\\s*[=:]\\s*["']?)(?!${HARMLESS.source})[^\\s"',;}\\]]+`,
  'gi',
);

/** `postgresql://user:password@host`. */
const IN_URL = /(:\/\/)[^\s/@"']+@/g;

/** A line of LiteLLM's log, without whatever may be a key, a token or a password in it. */
export const withoutKeys = (line: string): string =>
  redact(line).replace(IN_URL, '$1[redacted]@').replace(NAMED, '$1[redacted]');

/** The value of a JSON text; undefined where the text is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A field of a value that may be no object, or an object without that field. */
export const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
