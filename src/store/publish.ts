import { lstat, open, readFile, readlink, realpath, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'dotenv';
import type { PublishTarget } from '../config/kinds.ts';
import { generateKey } from '../keyring/key.ts';
import type { Secret } from '../secret.ts';
import {
  type Access,
  ifThere,
  type OnShortcoming,
  orTell,
  replaceFile,
  syncPath,
  temporaryName,
} from './durable-file.ts';

/**
 * Puts a key alone, and a line feed, into a file. One that is there keeps its mode, group and owner
 * as far as this process may give them; a new one is for its user alone (0600). Who reads sees the
 * old file or the new one, whole; it is on the disk when this resolves, but for what
 * `onShortcoming` is told. The folder must be there: one that is made where a mount is missing
 * would hide the key. A symbolic link stays, and what it points at is replaced.
 *
 * @throws Error that says what is wrong with the place; the file is as it was
 */
export async function publishToFile(
  path: string,
  key: Secret,
  onShortcoming: OnShortcoming,
): Promise<void> {
  let target = path;
  try {
    target = await behindLinks(path);
    const access = await accessOf(target);
    await replaceFile(target, `${key.reveal()}\n`, { forOthers: { access, onShortcoming } });
  } catch (cause) {
    throw publishError(target, cause);
  }
}

/** Undefined where there is no file. */
async function accessOf(path: string): Promise<Access | undefined> {
  const stats = await ifThere(stat(path));
  return stats && { mode: stats.mode & 0o777, uid: stats.uid, gid: stats.gid };
}

/**
 * Whether a key could be published to a target: does all that `publishToFile` or `publishToDotenv`
 * would do but for the change, and leaves nothing behind.
 *
 * @throws Error that says what is wrong with the place
 */
export async function tryTarget({ kind, path, variable }: PublishTarget): Promise<void> {
  let target = path;
  try {
    target = await behindLinks(path);
    if (kind === 'dotenv') {
      const before = await ifThere(readWhole(target));
      setVariable(decode(target, before?.bytes), variable, generateKey());
    } else if ((await ifThere(stat(target)))?.isDirectory()) {
      throw Object.assign(new Error(), { code: 'EISDIR' });
    }
    if (await isMount(target)) throw Object.assign(new Error(), { code: 'EBUSY' });
    const next = temporaryName(target);
    await (await open(next, 'wx', 0o600)).close();
    await rm(next);
  } catch (cause) {
    throw publishError(target, cause);
  }
}

/** Whether something is mounted at a path, as docker does with a single file (proc(5)). */
async function isMount(path: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  const escaped = (await realpath(path).catch(() => path)).replaceAll(
    /[\s\\]/g,
    (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
  return mounts.split('\n').some((line) => line.split(' ')[4] === escaped);
}

/** Linux follows as many links (path_resolution(7)). */
const MOST_LINKS = 40;

/**
 * Follows symbolic links to the file that a path stands for, which need not be there.
 *
 * @throws Error of Node's fs; ELOOP where the links have no end
 */
export async function behindLinks(path: string): Promise<string> {
  let at = path;
  for (let links = 0; links <= MOST_LINKS; links++) {
    if (!(await isLink(at))) return at;
    // A link starts at the real path of its folder: `..` in it would lead elsewhere from here.
    const folder = await realpath(dirname(at)).catch(() => dirname(at));
    at = resolve(folder, await readlink(at));
  }
  throw Object.assign(new Error(`too many symbolic links: ${path}`), { code: 'ELOOP' });
}

const isLink = async (path: string): Promise<boolean> =>
  (await ifThere(lstat(path)))?.isSymbolicLink() === true;

/** A file beyond this is no dotenv file, and would only fill the memory. */
const LARGEST = 1024 * 1024;
/** Others may write the file again and again; after so many tries it is given up. */
const MOST_TRIES = 10;

/**
 * Sets one variable of a dotenv file to a key; see {@link setVariable} for what stays as it is. The
 * file keeps its mode, group and owner, or not, as in {@link publishToFile}; one that is not there
 * is made (0600), its folder is not. Who reads sees the old file or the new one, whole. What
 * somebody else writes in the meantime is kept, but for what falls between one comparison and the
 * rename behind it. Two variables of one file must be set one after the other.
 *
 * @throws Error that says what is wrong with the place; the file is as it was
 */
export async function publishToDotenv(
  path: string,
  variable: string,
  key: Secret,
  onShortcoming: OnShortcoming,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    let target = path;
    try {
      target = await behindLinks(path);
      return await setInFile(target, variable, key, onShortcoming);
    } catch (cause) {
      if (cause !== OVERTAKEN) throw publishError(target, cause);
      if (tries === MOST_TRIES) throw new Error(`${target} is written again and again by others`);
    }
  }
}

/** Thrown where somebody else changed the file that was to be replaced. */
const OVERTAKEN = new Error('somebody else wrote the file');

/** @throws OVERTAKEN, Error of Node's fs */
async function setInFile(
  path: string,
  name: string,
  key: Secret,
  onShortcoming: OnShortcoming,
): Promise<void> {
  const before = await ifThere(readWhole(path));
  const text = decode(path, before?.bytes);
  const changed = setVariable(text, name, key.reveal());
  // Where the key stands there already, as the operator wrote it, it may not be on the disk yet.
  if (before !== undefined && changed === text) {
    return orTell(syncPath(path), onShortcoming, (code) => `${path} cannot be synced (${code})`);
  }
  await replaceFile(path, changed, {
    forOthers: { access: await accessOf(path), onShortcoming },
    async beforeRename() {
      const found = await ifThere(readFile(path));
      const isSame = found && before ? found.equals(before.bytes) : found === before;
      if (!isSame) throw OVERTAKEN;
    },
  });
}

async function readWhole(path: string): Promise<{ readonly bytes: Buffer }> {
  const { size } = await stat(path);
  if (size > LARGEST) throw new RangeError(`${path} is larger than 1MiB`);
  return { bytes: await readFile(path) };
}

/** Keeps the byte order mark, so that it is written again. */
function decode(path: string, bytes: Buffer | undefined): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new RangeError(`${path} is not UTF-8`);
  }
}

/** Why a key could not be published, in words, from an error of Node's fs. Holds no key. */
function publishError(path: string, cause: unknown): Error {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  const folder = dirname(path);
  const words: Record<string, string> = {
    ENOENT: `the folder ${folder} is not there: make it, and let the sidecar write it`,
    ENOTDIR: `${folder} is not a folder`,
    EISDIR: `${path} is a folder`,
    EACCES: `the sidecar may not write the folder ${folder}`,
    EPERM: `the sidecar may not write the folder ${folder}`,
    EROFS: `the folder ${folder} is read-only`,
    ENOSPC: `the disk of ${folder} is full`,
    EDQUOT: `the disk of ${folder} is full`,
    EBUSY: `${path} is mounted by itself and cannot be replaced: mount its folder`,
    ELOOP: `${path} is a symbolic link that leads to itself`,
  };
  return new Error(words[code] ?? message, { cause });
}

const NAME = /^\s*(?:export\s+)?([\w.-]+)(?:\s*=\s*?|:(?:\r\n|\s)\s*?)/;
const VALUE = /\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*`(?:\\`|[^`])*`|[^#\r\n]+/;
/**
 * How dotenv 17 finds a variable (its `LINE`), with a group more: 1 is what stands before the
 * value, 2 the name, 3 the value with its quotes and the white space around it. Line breaks are
 * those of the file here, where dotenv reads `\n` for each: CRLF behind a colon is one.
 */
const LINE = new RegExp(`(${NAME.source})(${VALUE.source})?\\s*(?:#.*)?$`, 'gm');

/** The quotes in which a value may stand, the plainest first. */
const QUOTES = ['', "'", '"', '`'] as const;

/**
 * The text of a dotenv file with a variable set, and every other byte as it was: comments, blank
 * lines, line breaks, `export`, the quotes and the comment behind the value. Of several definitions
 * dotenv takes the last; all of them are changed, so that no old value stays. Where there is none,
 * a line is added at the end.
 *
 * @throws RangeError where dotenv cannot hold the value, or other variables would change with it
 */
export function setVariable(text: string, name: string, value: string): string {
  const before = parse(text);
  for (const quote of [undefined, ...QUOTES]) {
    for (const changed of candidates(text, name, value, quote)) {
      if (isRight(changed, before, name, value)) return changed;
    }
  }
  throw new RangeError(`${name} cannot be set in that dotenv file without changing other lines`);
}

/** Ways to write the value; `quote` undefined: with the quotes that each definition has now. */
function candidates(
  text: string,
  name: string,
  value: string,
  quote: string | undefined,
): readonly string[] {
  let isThere = false;
  const replaced = text.replace(LINE, (line, before: string, found: string, raw = '') => {
    if (found !== name) return line;
    isThere = true;
    return before + inPlaceOf(raw, value, quote) + line.slice(before.length + raw.length);
  });
  if (isThere) return [replaced];
  const ending = /\r\n/.test(text) ? '\r\n' : '\n';
  const line = `${name}=${quoted(value, quote ?? '')}${ending}`;
  const isWhole = /(?:^\uFEFF?|[\r\n])$/.test(text);
  // The second way puts the line first: after an unfinished `A:` a line break would be its value.
  const [, mark = '', rest = ''] = /^(\uFEFF?)(.*)$/s.exec(text) ?? [];
  return [`${text}${isWhole ? '' : ending}${line}`, `${mark}${line}${rest}`];
}

const quoted = (value: string, quote: string): string => `${quote}${value}${quote}`;

/** The value in the place of another, with the white space around that one. */
function inPlaceOf(raw: string, value: string, quote: string | undefined): string {
  const old = raw.trim();
  const [first = ''] = old;
  const isQuoted = old.length > 1 && /['"`]/.test(first) && old.endsWith(first);
  const put = quoted(value, quote ?? (isQuoted ? first : ''));
  // In the place of an empty value it stands before the white space, as a comment may follow.
  return old === '' ? put + raw : raw.replace(old, () => put);
}

/** Whether dotenv reads the new value, and every other variable as before. */
function isRight(
  text: string,
  before: Readonly<Record<string, string>>,
  name: string,
  value: string,
): boolean {
  const after = parse(text);
  const names = Object.keys({ ...before, ...after, [name]: value });
  return names.every((each) => after[each] === (each === name ? value : before[each]));
}
