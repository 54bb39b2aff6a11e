import { redact } from '../keyring/redact.ts';

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
