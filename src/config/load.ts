import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'dotenv';
import { Secret } from '../secret.ts';
import { KNOWN_NAMES, type ParsedConfig, parseConfig, readFound } from './parse.ts';
import { type AnySetting, fileNameOf } from './setting.ts';
import { ENV_FILE, EVERY_SETTING, SETTINGS } from './settings.ts';
import {
  createMask,
  DOTENV,
  ENVIRONMENT,
  type Found,
  findValue,
  type Mask,
  type Mistake,
  quotesAround,
  type Source,
  valueIn,
} from './sources.ts';
import { readKey, readKeySync, readText, readTextSync } from './text-file.ts';

/** Where the configuration is read from. */
export interface ConfigPlaces {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where relative paths of `.env` and of key files start. */
  readonly cwd: string;
  /** Instead of SIDECAR_ENV_FILE and of `<cwd>/.env`. */
  readonly envFile?: string;
}

/** A configuration, or its mistakes; and the `.env` that was looked for, absolute, there or not. */
export type LoadedConfig = ParsedConfig & {
  readonly envFile: string;
  /** The state folder, absolute, where there is one, and at least that can be read. */
  readonly state: string | undefined;
};

/**
 * Reads the environment, `.env`, and the files that `NAME_FILE` names. Never throws: a file that
 * cannot be read is a mistake among the others, but for a `.env` that is not there.
 */
export function loadConfig(places: ConfigPlaces): LoadedConfig {
  const environment = environmentOf(places);
  const envFile = envFileOf(places);
  const dotenv = readDotenv(envFile);
  const said = [environment, dotenv.source];
  const keys = readKeyFiles(said, places.cwd);
  const parsed = parseConfig([...keys.sources, ...said], places.cwd);
  const faults = [...dotenv.mistakes, ...keys.mistakes];
  if (parsed.ok && faults.length === 0) {
    const { state: folder } = parsed.config;
    const state = folder === undefined ? undefined : resolve(places.cwd, folder);
    return { ...parsed, warnings: [...dotenv.warnings, ...parsed.warnings], envFile, state };
  }
  // A name whose line or file is at fault is told once: the parser finds no value there.
  const known = new Set(faults.map(({ name }) => name));
  const others = parsed.ok ? [] : parsed.mistakes.filter(({ name }) => !known.has(name));
  return { ok: false, mistakes: [...faults, ...others], envFile, state: stateIn(said, places.cwd) };
}

/** The state folder by itself, whatever is wrong with other settings. */
function stateIn(said: readonly Source[], cwd: string): string | undefined {
  const setting = SETTINGS.state;
  const found = findValue(said, setting);
  if (found === undefined) return resolve(cwd, setting.default);
  const reading = readFound(setting, found);
  const isFolder = 'value' in reading && reading.value !== undefined;
  return isFolder ? resolve(cwd, found.text) : undefined;
}

const environmentOf = ({ env }: ConfigPlaces): Source => ({
  name: ENVIRONMENT,
  values: Object.fromEntries(
    Object.entries(env).filter((pair): pair is [string, string] => pair[1] !== undefined),
  ),
});

/** The path of the `.env` that counts, absolute, there or not. */
function envFileOf(places: ConfigPlaces): string {
  const named = places.envFile ?? findValue([environmentOf(places)], ENV_FILE)?.text;
  return resolve(places.cwd, named ?? ENV_FILE.default);
}

/** What a `.env` holds, and what dotenv would pass over in silence. */
interface DotenvFile {
  readonly source: Source;
  readonly mistakes: readonly Mistake[];
  readonly warnings: readonly string[];
}

/** Reads a `.env`; one that is not there is an empty one. Never throws. */
export function readDotenv(path: string): DotenvFile {
  const file = readTextSync(path);
  if ('text' in file) return parseDotenv(file.text);
  const source: Source = { name: DOTENV, values: {} };
  if (file.kind === 'missing') return { source, mistakes: [], warnings: [] };
  const mistake: Mistake = {
    name: DOTENV,
    found: `${path}: ${file.fault}`,
    allowed: 'a text file in UTF-8, or nothing at all',
    ...(file.cause.code === 'EISDIR'
      ? { hint: 'docker makes a folder where a file that it shall mount is missing: remove it' }
      : {}),
  };
  return { source, mistakes: [mistake], warnings: [] };
}

/** An unquoted value that runs into a `#`: dotenv takes what follows for a comment. */
const CUT = /^\s*=\s*[^\s'"`#][^#]*(?<!\s)#/;

/** Reads the text of a `.env`. Pure. */
export function parseDotenv(text: string): DotenvFile {
  const values = parse(text);
  const lines = linesOfSettings(text);
  const lost = lines.filter(({ name }) => !Object.hasOwn(values, name));
  const cut = lines.filter(({ rest }) => CUT.test(rest));
  return {
    source: { name: DOTENV, values },
    mistakes: [
      ...lost.map(({ name, line }) => ({
        name,
        found: `line ${line} of ${DOTENV}, which sets nothing`,
        allowed: `${name}=value`,
      })),
      ...unclosedQuotes(values),
    ],
    warnings: cut.map(
      ({ name }) => `${name} in ${DOTENV} ends before a #: put the value in quotes to keep it`,
    ),
  };
}

/** Quotes that are closed lines further down, or never: the lines between them set nothing. */
function unclosedQuotes(values: Readonly<Record<string, string>>): Mistake[] {
  return Object.entries(values).flatMap(([name, value]) => {
    if (!/[\r\n]/.test(value.trim())) return [];
    const swallowed = linesOfSettings(value).map((line) => line.name);
    const names = KNOWN_NAMES.includes(name) ? [name, ...swallowed] : swallowed;
    return names.map((each) => ({
      name: each,
      found: `a value of several lines: the quote that begins behind ${name}= in ${DOTENV}`,
      allowed: `${each}=value, on a line of its own`,
      hint: 'close that quote on the line where it begins',
    }));
  });
}

/** What stands before a name in other programs' files; only `export` means anything to dotenv. */
const BEFORE_NAMES = String.raw`(?:(?:export|set|setenv|setx|declare\s+-x|-)\s+|\$env:)?`;
const NAMED_LINE = new RegExp(String.raw`^\s*${BEFORE_NAMES}["']?([A-Z][A-Z0-9_]*)(.*)$`);

/** The lines that begin with the name of a setting. */
function linesOfSettings(text: string): { name: string; line: number; rest: string }[] {
  return text.split(/\r\n?|\n/).flatMap((content, index) => {
    const match = NAMED_LINE.exec(content);
    const [, name = '', rest = ''] = match ?? [];
    return KNOWN_NAMES.includes(name) ? [{ name, line: index + 1, rest }] : [];
  });
}

/** One source for each key file that is named and can be read; a mistake for each that cannot. */
function readKeyFiles(said: readonly Source[], cwd: string) {
  const sources: Source[] = [];
  const mistakes: Mistake[] = [];
  const mask = createMask(said);
  for (const setting of EVERY_SETTING) {
    const fileName = fileNameOf(setting);
    const named = fileName === undefined ? undefined : findValue(said, setting, fileName);
    if (fileName === undefined || named === undefined) continue;
    const path = resolve(cwd, named.text);
    const file = readKeySync(path);
    if ('fault' in file) {
      mistakes.push(unusableKeyFile(fileName, named, file.fault, mask));
    } else {
      const values = { [setting.name]: file.key.reveal() };
      sources.push({ name: path, values, keyFile: true });
    }
  }
  return { sources, mistakes };
}

function unusableKeyFile(name: string, named: Found, fault: string, mask: Mask): Mistake {
  // A key that was put where its file's name belongs looks like a word without a folder.
  const isPath = /^(?:[./~\\]|[A-Za-z]:\\)/.test(named.text);
  return {
    name,
    found: `${isPath ? mask(named.text) : 'a value'} (${named.source.name}): ${fault}`,
    allowed: 'the path of a file that holds the key, in UTF-8',
    ...(isPath
      ? {}
      : {
          hint:
            quotesAround(named) ??
            'it names a file, such as ./master.key; a key itself goes elsewhere',
        }),
  };
}

/** The place of a setting's value in words; `origin` is the name of the source that has it. */
export function placeInWords(setting: AnySetting, origin: string, envFile: string): string {
  if (origin === ENVIRONMENT) return `${setting.name} in the environment`;
  if (origin === DOTENV) return `${setting.name} in ${envFile}`;
  return `the file ${origin}, which ${fileNameOf(setting)} names`;
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
 * value cannot be read: nothing is known then, so nothing may change.
 */
export type DeclaredReading =
  | { readonly value: DeclaredValue | undefined }
  | { readonly fault: string };

export interface DeclaredPlaces {
  /** Reads them anew. Never rejects. */
  read(): Promise<DeclaredReading>;
}

/**
 * The places of the declared client key, in the order of `loadConfig`: the file that
 * LITELLM_MASTER_KEY_FILE names, the `.env`, the environment, which stays as it was at the start.
 */
export const openDeclaredPlaces = (places: ConfigPlaces): DeclaredPlaces =>
  openPlaces(SETTINGS.declaredKey, places);

/**
 * The places of the key that somebody else's LiteLLM runs with: SIDECAR_UPSTREAM_KEY_FILE's file,
 * the environment, the `.env`.
 */
export const openUpstreamKeyPlaces = (places: ConfigPlaces): DeclaredPlaces =>
  openPlaces(SETTINGS.upstreamKey, places);

function openPlaces(setting: AnySetting, places: ConfigPlaces): DeclaredPlaces {
  const names = { plain: setting.name, file: fileNameOf(setting) ?? '' };
  const environment = environmentOf(places);
  const envFile = envFileOf(places);
  const dotenv = openDotenv(envFile, [names.plain, names.file]);
  return {
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
      const named = findValue(sources, setting, names.file);
      if (named) return await inKeyFile(setting, resolve(places.cwd, named.text), envFile);
      const found = findValue(sources, setting);
      return found === undefined ? { value: undefined } : declaredIn(setting, found, envFile);
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
    const file = await readText(path);
    if ('fault' in file && file.kind !== 'missing') return { fault: `${path}: ${file.fault}` };
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

async function inKeyFile(
  setting: AnySetting,
  path: string,
  envFile: string,
): Promise<DeclaredReading> {
  const file = await readKey(path);
  const where = placeInWords(setting, path, envFile);
  if ('fault' in file) return { fault: `${where}: ${file.fault}` };
  const source: Source = { name: path, values: {}, keyFile: true };
  return declaredIn(setting, { text: file.key.reveal(), source }, envFile);
}

/** A value as `parseConfig` would take it; what would not be taken at a start is a fault. */
function declaredIn(setting: AnySetting, found: Found, envFile: string): DeclaredReading {
  const { text, source } = found;
  const where = placeInWords(setting, source.name, envFile);
  const reading = readFound(setting, found);
  if ('hint' in reading) {
    return { fault: `${where}: ${reading.hint || `it is not ${setting.kind.allowed}`}` };
  }
  const kind = source.keyFile ? 'file' : source.name === DOTENV ? 'dotenv' : 'environment';
  return { value: { source: kind, where, key: new Secret(text) } };
}
