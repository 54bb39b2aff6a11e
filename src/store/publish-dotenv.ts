import { readFile, stat } from 'node:fs/promises';
import type { Secret } from '../secret.ts';
import type { Disk } from './disk.ts';
import { setVariable } from './dotenv-text.ts';
import { OVERTAKEN } from './durable-file.ts';
import { publishError } from './publish-error.ts';
import { behindLinks } from './publish-file.ts';

/** No dotenv file comes near this. */
const LARGEST = 1024 * 1024;
/** Of somebody who writes the file all the time. */
const MOST_TRIES = 10;

/**
 * Sets one variable of a dotenv file to a key; see {@link setVariable} for what stays as it is. The
 * file keeps its mode, and its owner where this process may give files away; one that is not there
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
  disk: Disk,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    let target = path;
    try {
      target = await behindLinks(path);
      return await setIn(target, variable, key, disk);
    } catch (cause) {
      const overtaken = (cause as NodeJS.ErrnoException).code === OVERTAKEN;
      if (!overtaken) throw publishError(target, cause);
      if (tries === MOST_TRIES) throw new Error(`${target} is written again and again by others`);
    }
  }
}

async function setIn(path: string, name: string, key: Secret, disk: Disk): Promise<void> {
  const before = await readIfThere(path);
  const text = decode(path, before?.bytes);
  const changed = setVariable(text, name, key.reveal());
  // Set by somebody else, the operator who declared it above all: on the disk it must be, too.
  if (before !== undefined && changed === text) return disk.run('sync', path);
  await disk.run('replace', {
    path,
    data: [changed],
    mode: before?.mode ?? 0o600,
    ...(before === undefined ? {} : { owner: before.owner }),
    over: { bytes: before?.bytes },
  });
}

interface ThereFile {
  readonly bytes: Buffer;
  readonly mode: number;
  readonly owner: { readonly uid: number; readonly gid: number };
}

async function readIfThere(path: string): Promise<ThereFile | undefined> {
  try {
    const { mode, uid, gid, size } = await stat(path);
    if (size > LARGEST) throw new RangeError(`${path} is larger than 1MiB`);
    return { bytes: await readFile(path), mode: mode & 0o777, owner: { uid, gid } };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** With its byte order mark, so that it stays. */
function decode(path: string, bytes: Buffer | undefined): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new RangeError(`${path} is not UTF-8`);
  }
}
