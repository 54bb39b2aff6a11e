import { cut, redact } from '../text/safe.ts';
import { type AnySetting, fileNameOf } from './setting.ts';
import { ENV_FILE, EVERY_SETTING } from './settings.ts';

export const ENVIRONMENT = 'environment';
export const DOTENV = '.env';
export const DEFAULT = 'default';

/** A place that settings come from. Of several, the first that has a value counts. */
export interface Source {
  /** For people: `environment`, `.env`, or the path of a key file. */
  readonly name: string;
  readonly values: Readonly<Record<string, string>>;
  /** Set where the source is the file that a `NAME_FILE` names, and holds that one secret. */
  readonly keyFile?: true;
}

/** A value and where it was found. */
export interface Found {
  readonly text: string;
  readonly source: Source;
}

/** The value that counts, and where it is. */
export function findValue(
  sources: readonly Source[],
  setting: AnySetting,
  name: string = setting.name,
): Found | undefined {
  for (const source of inOrder(sources, setting)) {
    const text = valueIn(source, name);
    if (text !== undefined) return { text, source };
  }
  return undefined;
}

/** The sources as they stand; for a setting whose home is `.env`, the environment goes last. */
function inOrder(sources: readonly Source[], setting: AnySetting): readonly Source[] {
  if (setting.dotenvFirst !== true) return sources;
  const rank = (source: Source): number => Number(source.name === ENVIRONMENT);
  return [...sources].sort((a, b) => rank(a) - rank(b));
}

/** A value that begins or ends with a quote: no setting has such a value. */
const IN_QUOTES = /^\\?["'`]|["'`]$/;

/** Why a value has quotes around it, and what to do; undefined: it has none. */
export function quotesAround({ text, source }: Found): string | undefined {
  if (!IN_QUOTES.test(text)) return undefined;
  if (source.keyFile === true) return 'a key file holds the key alone: leave the quotes out';
  return source.name === DOTENV
    ? 'a quote in that line is not closed, or something stands behind the one that closes it'
    : "quotes count there, as docker's --env-file keeps them: write the value without quotes";
}

/** Trimmed; undefined where nothing, or an empty text, is set: compose hands on empty variables. */
export function valueIn(source: Source, name: string): string | undefined {
  if (!Object.hasOwn(source.values, name)) return undefined;
  const text = source.values[name]?.trim() ?? '';
  return text === '' || isInjected(source, name, text) ? undefined : text;
}

const SERVICE = /^SIDECAR(?:_[A-Z0-9_]+)?_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$/;
const SERVICE_PORT = /^SIDECAR(?:_[A-Z0-9_]+)?_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/;
const SERVICE_URL = /^(?:tcp|udp|sctp):\/\//;

/**
 * Whether Kubernetes put a variable there, for a Service named `sidecar` or `sidecar-…`: it makes
 * Docker-link variables for every Service of a namespace, `SIDECAR_PORT=tcp://10.0.0.1:4000` among
 * them (Kubernetes documentation, "Service", environment variables).
 */
function isInjected(source: Source, name: string, text: string): boolean {
  if (source.name !== ENVIRONMENT || name === ENV_FILE.name) return false;
  if (SERVICE.test(name) || SERVICE_PORT.test(name)) return true;
  return /^SIDECAR(?:_[A-Z0-9_]+)?_PORT$/.test(name) && SERVICE_URL.test(text);
}

/** Something in the configuration that cannot stand. Holds no secret's value. */
export interface Mistake {
  /** Of the variable, or `.env`. */
  readonly name: string;
  /** What stands there, as it is shown to people: quoted, shortened, secrets left out. */
  readonly found: string;
  readonly allowed: string;
  readonly hint?: string;
}

/** All mistakes as people read them, on stderr: a block each. Ends with a newline. */
export function formatMistakes(mistakes: readonly Mistake[]): string {
  const count = mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`;
  const blocks = mistakes.map(({ name, found, allowed, hint }) => {
    const lines = [name, `  found    ${found}`, `  allowed  ${allowed}`];
    return (hint === undefined ? lines : [...lines, `  hint     ${hint}`]).join('\n');
  });
  return `${[`the configuration has ${count}`, ...blocks].join('\n\n')}\n`;
}

/** A value as a mistake shows it: in quotes, on one line, to 80 characters. */
export const quote = (text: string, mask: Mask): string => JSON.stringify(cut(mask(text), 80));

/** Takes whatever may be secret out of a text. */
export type Mask = (text: string) => string;

/** Shorter secrets are not masked: they stand in other texts by chance, and guard nothing. */
const SHORTEST_SECRET = 6;

/** A mask for the secrets of these sources, wherever else their values were put by mistake. */
export function createMask(sources: readonly Source[]): Mask {
  const hidden = EVERY_SETTING.filter((setting) => fileNameOf(setting) !== undefined);
  const secrets = sources
    .flatMap(({ values }) => hidden.map(({ name }) => values[name]?.trim() ?? ''))
    .filter((value) => value.length >= SHORTEST_SECRET)
    .sort((a, b) => b.length - a.length);
  return (text) => {
    let masked = text;
    for (const secret of secrets) masked = masked.replaceAll(secret, '…');
    // What looks like a key, and what stands before an @: a URL's user and password.
    masked = masked.replaceAll(/(?<![a-z0-9])sk-[^\s,'"]+/gi, 'sk-…');
    return redact(masked.replace(/^([a-z]+:\/\/)?.*@/is, '$1…@'));
  };
}
