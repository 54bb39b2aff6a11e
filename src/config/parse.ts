import { resolve } from 'node:path';
import { editDistance, nearest } from '../text/nearest.ts';
import { contradictions, shortInterval } from './checks.ts';
import {
  type AnySetting,
  type Config,
  ENV_FILE,
  EVERY_SETTING,
  fileNameOf,
  SETTINGS,
} from './settings.ts';
import {
  createMask,
  DEFAULT,
  ENVIRONMENT,
  type Found,
  findValue,
  type Mask,
  type Mistake,
  quote,
  type Source,
  valueIn,
} from './sources.ts';
import { readAs } from './units.ts';

const PREFIX = 'SIDECAR_';

/** Every variable that means something here. */
export const KNOWN_NAMES: readonly string[] = EVERY_SETTING.flatMap((setting) => {
  const fileName = fileNameOf(setting);
  return fileName === undefined ? [setting.name] : [setting.name, fileName];
});

const OURS = KNOWN_NAMES.filter((name) => name.startsWith(PREFIX)).map((name) =>
  name.slice(PREFIX.length),
);

/** Names that look like ours and are not: each a setting that somebody believes to be in force. */
export const unknownNames = (sources: readonly Source[]): Mistake[] =>
  sources.flatMap((source) =>
    Object.keys(source.values)
      .filter((name) => name.startsWith(PREFIX) && !KNOWN_NAMES.includes(name))
      .filter((name) => valueIn(source, name) !== undefined)
      .map((name) => unknown(name, source)),
  );

/** The value is left out: what was meant may be a secret. */
function unknown(name: string, source: Source): Mistake {
  const hint = hintFor(name);
  return {
    name,
    found: `a name that is not known (${source.name})`,
    allowed: 'the names in .env.example',
    ...(hint === undefined ? {} : { hint }),
  };
}

function hintFor(name: string): string | undefined {
  const bare = name.replace(/_FILE$/, '');
  if (KNOWN_NAMES.includes(bare)) return `only secrets are read from files: set ${bare} itself`;
  const near = nearest(name.slice(PREFIX.length), OURS);
  return near === undefined ? undefined : `did you mean ${PREFIX}${near}?`;
}

/** What says where `.env` is cannot stand in it. */
export const misplaced = (sources: readonly Source[]): Mistake[] =>
  sources
    .filter((source) => source.name !== ENVIRONMENT && valueIn(source, ENV_FILE.name) !== undefined)
    .map((source) => ({
      name: ENV_FILE.name,
      found: `it is set in ${source.name}`,
      allowed: 'the environment only',
    }));

/**
 * A name a slip away from LITELLM_MASTER_KEY: not ours to refuse, and the key would be a made one.
 */
export function misspeltKey(sources: readonly Source[]): string[] {
  const { name: meant } = SETTINGS.declaredKey;
  return sources.flatMap((source) =>
    Object.keys(source.values)
      .filter((name) => !KNOWN_NAMES.includes(name) && Math.abs(name.length - meant.length) <= 2)
      .filter((name) => editDistance(name.toUpperCase(), meant) <= 2)
      .map((name) => `${name} (${source.name}) means nothing here: did you mean ${meant}?`),
  );
}

/** Where each value came from: `default`, `environment`, `.env`, or the path of a key file. */
export type Origins = { readonly [F in keyof Config]: string };

export type ParsedConfig =
  | {
      readonly ok: true;
      readonly config: Config;
      readonly origins: Origins;
      /** For the log: it runs, and somebody should look at it. No secret's value. */
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] };

/**
 * The configuration that these sources make, or all that is wrong with them. Pure; never throws.
 *
 * Of several sources the first counts; for the declared key a key file comes first, then `.env`,
 * then the environment. Key files are read by who calls, into sources of their own. `cwd` is where
 * relative publish targets start.
 */
export function parseConfig(sources: readonly Source[], cwd = '/'): ParsedConfig {
  const mask = createMask(sources);
  const mistakes: Mistake[] = [];
  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  for (const [field, setting] of Object.entries<AnySetting>(SETTINGS)) {
    const clash = twoWays(setting, sources) ?? unreadFile(setting, sources, mask);
    const found = findValue(sources, setting);
    const result = clash ?? read(setting, found, mask);
    if ('allowed' in result) {
      mistakes.push(result);
      continue;
    }
    values[field] = result.value;
    origins[field] = found?.source.name ?? DEFAULT;
  }
  for (const each of contradictions(values as Partial<Config>, cwd)) {
    mistakes.push({ ...each, found: mask(each.found) });
  }
  mistakes.push(...misplaced(sources), ...unknownNames(sources));
  if (mistakes.length > 0) return { ok: false, mistakes };
  // The table has each field of Config, with a schema of its type: `Settings` says so.
  const config = withAbsoluteTargets(values as unknown as Config, cwd);
  const warnings = [...shadowedKey(sources), ...misspeltKey(sources), ...shortInterval(config)];
  return { ok: true, config, origins: origins as Origins, warnings };
}

const withAbsoluteTargets = (config: Config, cwd: string): Config => ({
  ...config,
  publish: config.publish.map((target) => ({ ...target, path: resolve(cwd, target.path) })),
});

function read(
  { name, kind, default: fallback }: AnySetting,
  found: Found | undefined,
  mask: Mask,
): Mistake | { value: unknown } {
  const result = readAs(kind, found?.text ?? fallback);
  if ('value' in result) return result;
  const hides = kind.secret === true || kind.hidden === true;
  const shown = hides ? 'a value that is not shown' : quote(found?.text ?? '', mask);
  return {
    name,
    found: found === undefined ? 'nothing' : `${shown} (${found.source.name})`,
    allowed: kind.allowed,
    ...(result.hint === '' ? {} : { hint: mask(result.hint) }),
  };
}

/** `NAME` beside `NAME_FILE`: nobody can say which of them was meant. */
function twoWays(setting: AnySetting, sources: readonly Source[]): Mistake | undefined {
  const fileName = fileNameOf(setting);
  if (fileName === undefined) return undefined;
  const said = sources.filter((source) => source.keyFile !== true);
  const byValue = said.filter((source) => valueIn(source, setting.name) !== undefined);
  const byFile = said.filter((source) => valueIn(source, fileName) !== undefined);
  // The declared key has an order between the places, and so a meaning where they differ.
  const first =
    setting.dotenvFirst === true ? byValue.find((source) => byFile.includes(source)) : byValue[0];
  if (first === undefined || byFile.length === 0) return undefined;
  return {
    name: setting.name,
    found: `${setting.name} (${first.name}) and ${fileName} (${byFile[0]?.name})`,
    allowed: 'one of the two',
  };
}

/** A file that was named and not read must not look like "not set": a key would be made instead. */
function unreadFile(
  setting: AnySetting,
  sources: readonly Source[],
  mask: Mask,
): Mistake | undefined {
  const fileName = fileNameOf(setting);
  const named = fileName === undefined ? undefined : findValue(sources, setting, fileName);
  if (fileName === undefined || named === undefined) return undefined;
  const wasRead = sources.some(
    (source) => source.keyFile === true && valueIn(source, setting.name) !== undefined,
  );
  if (wasRead) return undefined;
  const found = `${quote(named.text, mask)} (${named.source.name}): it was not read`;
  return { name: fileName, found, allowed: 'the path of a file that holds the key' };
}

/**
 * Several places that declare different keys: one counts, and the others are easily taken for it.
 */
function shadowedKey(sources: readonly Source[]): string[] {
  const { name } = SETTINGS.declaredKey;
  const counting = findValue(sources, SETTINGS.declaredKey);
  const others = sources.filter((source) => {
    const text = valueIn(source, name);
    return text !== undefined && text !== counting?.text;
  });
  return others.map(
    (other) =>
      `${name} stands in ${other.name} with another value: ${counting?.source.name} counts`,
  );
}
