import { resolve } from 'node:path';
import { editDistance, nearest } from '../text/nearest.ts';
import { contradictions, shortInterval } from './checks.ts';
import { type AnySetting, fileNameOf } from './setting.ts';
import { type Config, ENV_FILE, EVERY_SETTING, SETTINGS } from './settings.ts';
import {
  createMask,
  DEFAULT,
  DOTENV,
  ENVIRONMENT,
  type Found,
  findValue,
  type Mask,
  type Mistake,
  quote,
  quotesAround,
  type Source,
  valueIn,
} from './sources.ts';
import { type Reading, wrong } from './units.ts';

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
 * then the environment. The caller reads key files, into sources of their own, and tells of those
 * that cannot be read. `cwd` is where relative publish targets start.
 */
export function parseConfig(sources: readonly Source[], cwd = '/'): ParsedConfig {
  const mask = createMask(sources);
  const mistakes: Mistake[] = [];
  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  for (const [field, setting] of Object.entries<AnySetting>(SETTINGS)) {
    const clash = twoWays(setting, sources);
    const found = findValue(sources, setting);
    const result = clash ?? readValue(setting, found, mask);
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
  mistakes.push(...misplacedEnvFile(sources), ...unknownNames(sources));
  if (mistakes.length > 0) return { ok: false, mistakes };
  // Each row of the table has left a value of its kind, and `Config` is inferred from the kinds.
  const config = withAbsoluteTargets(values as unknown as Config, cwd);
  const warnings = [
    ...shadowedKey(sources),
    ...commentsKept(sources),
    ...overridden(sources),
    ...misspeltKey(sources),
    ...shortInterval(config),
  ];
  return { ok: true, config, origins: origins as Origins, warnings };
}

const withAbsoluteTargets = (config: Config, cwd: string): Config => ({
  ...config,
  publish: config.publish.map((target) => ({ ...target, path: resolve(cwd, target.path) })),
});

/** A value as it was found, or the hint that says why it is none. */
export function readFound({ kind }: AnySetting, found: Found): Reading<unknown> {
  const quotes = quotesAround(found);
  return quotes === undefined ? kind.read(found.text) : wrong(quotes);
}

function readValue(
  setting: AnySetting,
  found: Found | undefined,
  mask: Mask,
): Mistake | { value: unknown } {
  const { name, kind, default: fallback } = setting;
  const result = found === undefined ? kind.read(fallback) : readFound(setting, found);
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
  // With `.env` first there is an order between the places, so the two may stand in different ones.
  const first =
    setting.dotenvFirst === true ? byValue.find((source) => byFile.includes(source)) : byValue[0];
  if (first === undefined || byFile.length === 0) return undefined;
  return {
    name: setting.name,
    found: `${setting.name} (${first.name}) and ${fileName} (${byFile[0]?.name})`,
    allowed: 'one of the two',
  };
}

/**
 * SIDECAR_ENV_FILE says where `.env` is: in that file nobody would look for it, and with quotes
 * around it a file is looked for that is not there, which is no mistake.
 */
const misplacedEnvFile = (sources: readonly Source[]): Mistake[] =>
  sources.flatMap((source) => {
    const text = valueIn(source, ENV_FILE.name);
    if (text === undefined) return [];
    const hint = source.name === ENVIRONMENT ? quotesAround({ text, source }) : '';
    if (hint === undefined) return [];
    const allowed = hint === '' ? 'the environment only' : ENV_FILE.kind.allowed;
    const found = `it is set in ${source.name}`;
    return [{ name: ENV_FILE.name, found, allowed, ...(hint !== '' && { hint }) }];
  });

const PREFIX = 'SIDECAR_';

/** Every variable that means something here. */
export const KNOWN_NAMES: readonly string[] = EVERY_SETTING.flatMap((setting) => {
  const fileName = fileNameOf(setting);
  return fileName === undefined ? [setting.name] : [setting.name, fileName];
});

/** The known names without the prefix, which would make any two of them look near. */
const BARE_NAMES = KNOWN_NAMES.filter((name) => name.startsWith(PREFIX)).map((name) =>
  name.slice(PREFIX.length),
);

/**
 * Names that begin with SIDECAR_ and are not known: each is a setting that somebody believes to be
 * in force. The value is left out, because what was meant may be a secret.
 */
const unknownNames = (sources: readonly Source[]): Mistake[] =>
  sources.flatMap((source) =>
    Object.keys(source.values)
      .filter((name) => !KNOWN_NAMES.includes(name))
      .filter((name) => name.startsWith(PREFIX) || KNOWN_NAMES.includes(bareName(name)))
      .filter((name) => valueIn(source, name) !== undefined)
      .map((name) => {
        const hint = hintFor(name);
        return {
          name,
          found: `a name that is not known (${source.name})`,
          allowed: 'the names in .env.example',
          ...(hint === undefined ? {} : { hint }),
        };
      }),
  );

/** Without what programs that read no shell's syntax leave at a name: `export`, quotes, a BOM. */
const bareName = (name: string): string =>
  name.replace(/^[\s"'\uFEFF]*(?:export\s+)?/, '').replace(/[\s"']+$/, '');

function hintFor(name: string): string | undefined {
  if (bareName(name) !== name) return `write ${bareName(name)}, and nothing before or behind it`;
  const bare = name.replace(/_FILE$/, '');
  if (KNOWN_NAMES.includes(bare)) return `only secrets are read from files: set ${bare} itself`;
  const near = nearest(name.slice(PREFIX.length), BARE_NAMES);
  return near === undefined ? undefined : `did you mean ${PREFIX}${near}?`;
}

/**
 * A warning for a name that is nearly LITELLM_MASTER_KEY. It is no mistake, because the variables
 * of other programs may have such names; but the key in it would be replaced by a made one.
 */
function misspeltKey(sources: readonly Source[]): string[] {
  const { name: meant } = SETTINGS.declaredKey;
  return sources.flatMap((source) =>
    Object.keys(source.values)
      .filter((name) => !KNOWN_NAMES.includes(name) && Math.abs(name.length - meant.length) <= 2)
      .filter((name) => editDistance(name.toUpperCase(), meant) <= 2)
      .map((name) => `${name} (${source.name}) means nothing here: did you mean ${meant}?`),
  );
}

/** Warnings for values with a comment behind them: docker's `--env-file` makes it part of them. */
function commentsKept(sources: readonly Source[]): string[] {
  const environment = sources.filter(({ name }) => name === ENVIRONMENT);
  return environment.flatMap((source) =>
    KNOWN_NAMES.filter((name) => /\s#/.test(valueIn(source, name) ?? '')).map(
      (name) => `${name} (${ENVIRONMENT}) has a # in it: what stands behind is part of the value`,
    ),
  );
}

/**
 * A warning for places that declare different keys: one counts, and the others are easily taken
 * for it.
 */
function overridden(sources: readonly Source[]): string[] {
  return EVERY_SETTING.filter(({ dotenvFirst }) => dotenvFirst !== true).flatMap((setting) => {
    const counting = findValue(sources, setting);
    const dotenv = sources.find(({ name }) => name === DOTENV);
    const text = dotenv && valueIn(dotenv, setting.name);
    if (text === undefined || counting?.source.name !== ENVIRONMENT || counting.text === text) {
      return [];
    }
    return [
      `${setting.name} in .env does not count: the environment (the compose file's, say) has ` +
        'another value',
    ];
  });
}

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
