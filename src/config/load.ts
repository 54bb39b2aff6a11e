import { resolve } from 'node:path';
import { readDotenv } from './dotenv-file.ts';
import { createMask, type Mask, type Mistake } from './mistakes.ts';
import { type ParsedConfig, parseConfig } from './parse.ts';
import { readText } from './read-text.ts';
import { type AnySetting, fileNameOf } from './setting.ts';
import { ENV_FILE, EVERY_SETTING } from './settings.ts';
import { ENVIRONMENT, type Found, find, type Source } from './sources.ts';

/** What the configuration is read from. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where relative paths of `.env` and of key files start. */
  readonly cwd: string;
  /** Instead of SIDECAR_ENV_FILE and of `<cwd>/.env`. */
  readonly envFile?: string;
}

/** A configuration, or its mistakes; and the `.env` that was looked for, absolute, there or not. */
export type LoadedConfig = ParsedConfig & { readonly envFile: string };

/**
 * Reads the environment, `.env`, and the files that `NAME_FILE` names. Never throws: a file that
 * cannot be read is a mistake among the others, but for a `.env` that is not there.
 */
export function loadConfig(surroundings: Surroundings): LoadedConfig {
  const { cwd } = surroundings;
  const environment = environmentOf(surroundings.env);
  const path = envFileOf(surroundings);
  const dotenv = readDotenv(path);
  const said = [environment, dotenv.source];
  const keys = readKeyFiles(said, cwd);
  const parsed = parseConfig([...keys.sources, ...said], cwd);
  const faults = [...dotenv.mistakes, ...keys.mistakes];
  if (parsed.ok && faults.length === 0) {
    return { ...parsed, warnings: [...dotenv.warnings, ...parsed.warnings], envFile: path };
  }
  const known = new Set(faults.map(({ name }) => name));
  const others = parsed.ok ? [] : parsed.mistakes.filter(({ name }) => !known.has(name));
  return { ok: false, mistakes: [...faults, ...others], envFile: path };
}

export const environmentOf = (env: Surroundings['env']): Source => ({
  name: ENVIRONMENT,
  values: Object.fromEntries(
    Object.entries(env).filter((pair): pair is [string, string] => pair[1] !== undefined),
  ),
});

/** The `.env` that counts, absolute, there or not. */
export function envFileOf({ env, cwd, envFile }: Surroundings): string {
  const named = envFile ?? find([environmentOf(env)], ENV_FILE)?.text ?? ENV_FILE.default;
  return resolve(cwd, named);
}

/** One source for each key file that could be read. */
function readKeyFiles(said: readonly Source[], cwd: string) {
  const sources: Source[] = [];
  const mistakes: Mistake[] = [];
  const mask = createMask(said);
  for (const setting of EVERY_SETTING) {
    const fileName = fileNameOf(setting);
    const named = fileName === undefined ? undefined : find(said, setting, fileName);
    if (fileName === undefined || named === undefined) continue;
    const result = readKeyFile(setting, named, cwd);
    if ('source' in result) sources.push(result.source);
    else mistakes.push(unusable(fileName, named, result.fault, mask));
  }
  return { sources, mistakes };
}

function readKeyFile(
  setting: AnySetting,
  named: Found,
  cwd: string,
): { source: Source } | { fault: string } {
  const path = resolve(cwd, named.text);
  const file = readText(path);
  if ('fault' in file) return file;
  const text = file.text.trim();
  if (text === '') return { fault: 'it is empty' };
  return { source: { name: path, values: { [setting.name]: text }, keyFile: true } };
}

function unusable(name: string, named: Found, fault: string, mask: Mask): Mistake {
  // A key that was put where its file's name belongs looks like a word without a folder.
  const isPath = /^(?:[./~\\]|[A-Za-z]:\\)/.test(named.text);
  return {
    name,
    found: `${isPath ? mask(named.text) : 'a value'} (${named.source.name}): ${fault}`,
    allowed: 'the path of a file that holds the key, in UTF-8',
    ...(isPath
      ? {}
      : { hint: 'it names a file, such as ./master.key; a key itself goes elsewhere' }),
  };
}
