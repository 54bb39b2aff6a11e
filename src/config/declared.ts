import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Secret } from '../secret.ts';
import { parseDotenv } from './dotenv-file.ts';
import { envFileOf, environmentOf, type Surroundings } from './load.ts';
import { readTextLater } from './read-text.ts';
import { type AnySetting, fileNameOf } from './setting.ts';
import { SETTINGS } from './settings.ts';
import { DOTENV, ENVIRONMENT, type Found, find, type Source, valueIn } from './sources.ts';

/** A key as it stands now, in the first of its places that has one. */
export interface DeclaredValue {
  readonly source: 'file' | 'dotenv' | 'environment';
  /** For people: `LITELLM_MASTER_KEY in /config/.env`. */
  readonly where: string;
  readonly key: Secret;
}

/**
 * `value` is undefined where nothing is declared. A `fault` says why a place that should have a
 * value cannot be read; then nothing is known, and nothing changes.
 */
export type DeclaredReading =
  | { readonly value: DeclaredValue | undefined }
  | { readonly fault: string };

export interface DeclaredPlaces {
  /** The files that a change shows in, absolute: the `.env`, and the key file where it is named. */
  readonly files: readonly string[];
  /** Reads them anew. Never rejects. */
  read(): Promise<DeclaredReading>;
}

export type OpenDeclaredPlaces = (surroundings: Surroundings) => DeclaredPlaces;

/**
 * The places of the declared client key, in the order of `loadConfig`: the file that
 * LITELLM_MASTER_KEY_FILE names, the `.env`, the environment, which stays as it was at the start.
 */
export const openDeclaredPlaces: OpenDeclaredPlaces = (surroundings) =>
  openPlaces(SETTINGS.declaredKey, surroundings);

/**
 * The places of the key that somebody else's LiteLLM runs with: SIDECAR_UPSTREAM_KEY_FILE's file,
 * the environment, the `.env`.
 */
export const openUpstreamKeyPlaces: OpenDeclaredPlaces = (surroundings) =>
  openPlaces(SETTINGS.upstreamKey, surroundings);

function openPlaces(setting: AnySetting, surroundings: Surroundings): DeclaredPlaces {
  const { cwd } = surroundings;
  const names = { plain: setting.name, file: fileNameOf(setting) ?? '' };
  const environment = environmentOf(surroundings.env);
  const envFile = envFileOf(surroundings);
  const dotenv = openDotenv(envFile, [names.plain, names.file]);
  const namedBy = (sources: readonly Source[]): string | undefined => {
    const named = find(sources, setting, names.file);
    return named && resolve(cwd, named.text);
  };
  let keyFile = namedBy([environment]);

  return {
    get files() {
      return keyFile === undefined ? [envFile] : [envFile, keyFile];
    },
    async read() {
      const said = await dotenv();
      if ('fault' in said) return said;
      const sources = [environment, said];
      const both = sources.find(
        (source) => valueIn(source, names.plain) && valueIn(source, names.file),
      );
      if (both !== undefined) {
        const { plain, file } = names;
        return { fault: `${plain} and ${file} both stand in ${both.name}: keep one of them` };
      }
      keyFile = namedBy(sources);
      if (keyFile !== undefined) return readKeyFile(keyFile, names.file);
      return { value: declaredIn(find(sources, setting), names.plain, envFile) };
    },
  };
}

/** Reads the `.env` anew at each call. */
function openDotenv(
  path: string,
  names: readonly string[],
): () => Promise<Source | { readonly fault: string }> {
  let hadFolder = false;
  return async () => {
    const file = await readTextLater(path);
    if ('fault' in file && !file.missing) return { fault: `${path}: ${file.fault}` };
    const hasFolder = 'text' in file || (await isThere(dirname(path)));
    // A mount that went away says nothing about the key.
    if (hadFolder && !hasFolder) return { fault: `${dirname(path)}, the folder of .env, is gone` };
    hadFolder = hasFolder;
    const { source, mistakes } = parseDotenv('text' in file ? file.text : '');
    const mistake = mistakes.find(({ name }) => names.includes(name));
    if (mistake === undefined) return source;
    return { fault: `${mistake.name}: ${mistake.found}; write ${mistake.allowed}` };
  };
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function readKeyFile(path: string, namedBy: string): Promise<DeclaredReading> {
  const file = await readTextLater(path);
  const where = `the file ${path}, which ${namedBy} names`;
  if ('fault' in file) return { fault: `${where}: ${file.fault}` };
  const text = file.text.trim();
  if (text === '') return { fault: `${where}: it is empty` };
  return { value: { source: 'file', where, key: new Secret(text) } };
}

function declaredIn(
  found: Found | undefined,
  name: string,
  envFile: string,
): DeclaredValue | undefined {
  if (found === undefined) return undefined;
  const key = new Secret(found.text);
  return found.source.name === DOTENV
    ? { source: 'dotenv', where: `${name} in ${envFile}`, key }
    : { source: 'environment', where: `${name} in the ${ENVIRONMENT}`, key };
}
