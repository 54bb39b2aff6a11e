import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Secret } from '../secret.ts';
import { parseDotenv } from './dotenv-file.ts';
import { envFileOf, environmentOf, type Surroundings } from './load.ts';
import { readTextLater } from './read-text.ts';
import { fileNameOf } from './setting.ts';
import { SETTINGS } from './settings.ts';
import { DOTENV, ENVIRONMENT, find, type Source, valueIn } from './sources.ts';

/** The declared client key as it stands now, in the first of its places that has one. */
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

const { name: NAME } = SETTINGS.declaredKey;
const FILE_NAME = fileNameOf(SETTINGS.declaredKey) ?? '';

/**
 * The places of the declared key, in the order of `loadConfig`: the file that
 * LITELLM_MASTER_KEY_FILE names, the `.env`, the environment, which stays as it was at the start.
 */
export const openDeclaredPlaces: OpenDeclaredPlaces = (surroundings) => {
  const { cwd } = surroundings;
  const environment = environmentOf(surroundings.env);
  const envFile = envFileOf(surroundings);
  const dotenv = openDotenv(envFile);
  const namedBy = (sources: readonly Source[]): string | undefined => {
    const named = find(sources, SETTINGS.declaredKey, FILE_NAME);
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
        (source) => [NAME, FILE_NAME].filter((each) => valueIn(source, each)).length === 2,
      );
      if (both !== undefined) {
        return { fault: `${NAME} and ${FILE_NAME} both stand in ${both.name}: keep one of them` };
      }
      keyFile = namedBy(sources);
      if (keyFile !== undefined) return readKeyFile(keyFile);
      return { value: declaredIn(sources, envFile) };
    },
  };
};

/** Reads the `.env` anew at each call. */
function openDotenv(path: string): () => Promise<Source | { readonly fault: string }> {
  let hadFolder = false;
  return async () => {
    const file = await readTextLater(path);
    if ('fault' in file && !file.missing) return { fault: `${path}: ${file.fault}` };
    const hasFolder = 'text' in file || (await isThere(dirname(path)));
    // A mount that went away says nothing about the key.
    if (hadFolder && !hasFolder) return { fault: `${dirname(path)}, the folder of .env, is gone` };
    hadFolder = hasFolder;
    const { source, mistakes } = parseDotenv('text' in file ? file.text : '');
    const mistake = mistakes.find(({ name }) => name === NAME || name === FILE_NAME);
    if (mistake === undefined) return source;
    return { fault: `${mistake.name}: ${mistake.found}; write ${mistake.allowed}` };
  };
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function readKeyFile(path: string): Promise<DeclaredReading> {
  const file = await readTextLater(path);
  const where = `the file ${path}, which ${FILE_NAME} names`;
  if ('fault' in file) return { fault: `${where}: ${file.fault}` };
  const text = file.text.trim();
  if (text === '') return { fault: `${where}: it is empty` };
  return { value: { source: 'file', where, key: new Secret(text) } };
}

function declaredIn(sources: readonly Source[], envFile: string): DeclaredValue | undefined {
  const found = find(sources, SETTINGS.declaredKey);
  if (found === undefined) return undefined;
  const key = new Secret(found.text);
  return found.source.name === DOTENV
    ? { source: 'dotenv', where: `${NAME} in ${envFile}`, key }
    : { source: 'environment', where: `${NAME} in the ${ENVIRONMENT}`, key };
}
