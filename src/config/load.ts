import { closeSync, constants, openSync, readSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'dotenv';
import { Secret } from '../secret.ts';
import { KNOWN_NAMES, type ParsedConfig, parseConfig } from './parse.ts';
import { type AnySetting, ENV_FILE, EVERY_SETTING, fileNameOf, SETTINGS } from './settings.ts';
import {
  createMask,
  DOTENV,
  ENVIRONMENT,
  type Found,
  find,
  type Mask,
  type Mistake,
  type Source,
  valueIn,
} from './sources.ts';

/** No file of settings or keys comes near this; a device would never end. */
const LARGEST = 1024 * 1024;
/** Most are far smaller: a watched one is read again and again, and each megabyte is garbage. */
const USUAL = 16 * 1024;

/** A file's text, or why there is none, as a sentence. */
export type TextFile =
  | { readonly text: string }
  | { readonly fault: string; readonly missing: boolean };

/** Reads a file of UTF-8, with or without a byte order mark; never throws. */
export function readText(path: string): TextFile {
  try {
    return decode(readBytes(path));
  } catch (error) {
    return unreadable(error);
  }
}

/** The same without holding up anything else, however slow the disk is; never rejects. */
export async function readTextLater(path: string): Promise<TextFile> {
  try {
    return decode(await readBytesLater(path));
  } catch (error) {
    return unreadable(error);
  }
}

const fault = (text: string, missing = false): TextFile => ({ fault: text, missing });

function unreadable(error: unknown): TextFile {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  if (code === 'ENOENT') return fault('it is not there', true);
  if (code === 'EISDIR') return fault('it is a folder');
  return fault(`it cannot be read (${code})`);
}

function decode(bytes: Buffer): TextFile {
  if (bytes.length > LARGEST) return fault('it is larger than 1MiB');
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    return fault('it is not UTF-8');
  }
}

/** At most one byte more than the largest file. */
function readBytes(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(LARGEST + 1);
    let length = 0;
    for (;;) {
      const count = readSync(file, buffer, length, buffer.length - length, null);
      length += count;
      if (count === 0 || length === buffer.length) return buffer.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}

async function readBytesLater(path: string): Promise<Buffer> {
  // Without O_NONBLOCK a pipe would hold one of the few threads that Node has for files.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    let buffer = Buffer.allocUnsafe(USUAL);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      length += bytesRead;
      if (bytesRead === 0 || length > LARGEST) return buffer.subarray(0, length);
      if (length < buffer.length) continue;
      buffer = Buffer.concat([buffer], Math.min(buffer.length * 4, LARGEST + 1));
    }
  } finally {
    await file.close();
  }
}

/** What a `.env` holds, and what dotenv would pass over in silence. */
export interface DotenvFile {
  readonly source: Source;
  readonly mistakes: readonly Mistake[];
  readonly warnings: readonly string[];
}

/** Reads a `.env`; one that is not there is an empty one. Never throws. */
export function readDotenv(path: string): DotenvFile {
  const file = readText(path);
  if ('text' in file) return parseDotenv(file.text);
  const source: Source = { name: DOTENV, values: {} };
  if (file.missing) return { source, mistakes: [], warnings: [] };
  const mistake: Mistake = {
    name: DOTENV,
    found: `${path}: ${file.fault}`,
    allowed: 'a text file in UTF-8, or nothing at all',
    ...(file.fault.includes('folder')
      ? { hint: 'docker makes a folder where a file that it shall mount is missing: remove it' }
      : {}),
  };
  return { source, mistakes: [mistake], warnings: [] };
}

/** Pure: the text of a `.env`. */
export function parseDotenv(text: string): DotenvFile {
  const values = parse(text);
  const names = linesOf(text);
  const lost = names.filter(({ name }) => !Object.hasOwn(values, name));
  return {
    source: { name: DOTENV, values },
    mistakes: lost.map(({ name, line }) => ({
      name,
      found: `line ${line} of ${DOTENV}, which sets nothing`,
      allowed: `${name}=value`,
    })),
    warnings: names
      .filter(({ rest }) => CUT.test(rest))
      .map(
        ({ name }) => `${name} in ${DOTENV} ends before a #: put the value in quotes to keep it`,
      ),
  };
}

/** An unquoted value that runs into a `#`: dotenv takes what follows for a comment. */
const CUT = /^\s*=\s*[^\s'"`#][^#]*(?<!\s)#/;

/** The lines that begin with a name of ours. */
function linesOf(text: string): { name: string; line: number; rest: string }[] {
  return text.split(/\r\n?|\n/).flatMap((content, index) => {
    const match = /^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)(.*)$/.exec(content);
    const [, name = '', rest = ''] = match ?? [];
    return KNOWN_NAMES.includes(name) ? [{ name, line: index + 1, rest }] : [];
  });
}

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
    const result = readNamedKeyFile(setting, named, cwd);
    if ('source' in result) sources.push(result.source);
    else mistakes.push(unusable(fileName, named, result.fault, mask));
  }
  return { sources, mistakes };
}

function readNamedKeyFile(
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
