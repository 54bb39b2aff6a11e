import { closeSync, constants, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { Secret } from '../secret.ts';

/** Why a file gave no text or no key. */
interface FileFault {
  /** A sentence about the file, without its path: `it is a folder`. */
  readonly fault: string;
  /** `empty` is said of a key file alone: a text may be empty. */
  readonly kind: 'missing' | 'empty' | 'unreadable';
  /** The error of Node's fs, with its `code`, or one whose message names the file. */
  readonly cause: NodeJS.ErrnoException;
}

type TextFile = { readonly text: string } | FileFault;

/** A file that holds one key. White space around it, such as a line break, is no part of it. */
type KeyFile = { readonly key: Secret } | FileFault;

/** Settings and keys are far smaller than this; the limit ends the reading of a device. */
const LARGEST = 1024 * 1024;
/** Most files are smaller than this. A watched one is read each second, so little is allocated. */
const USUAL = 16 * 1024;

/** Reads a file of UTF-8, with or without a byte order mark. Never rejects. */
export async function readText(path: string): Promise<TextFile> {
  try {
    return decode(path, await readBytes(path));
  } catch (error) {
    return unreadable(error);
  }
}

/** `readText` for the start and for the command line, where nothing else waits. Never throws. */
export function readTextSync(path: string): TextFile {
  try {
    return decode(path, readBytesSync(path));
  } catch (error) {
    return unreadable(error);
  }
}

/** The key in a file, read anew. Never rejects. */
export const readKey = async (path: string): Promise<KeyFile> => keyIn(path, await readText(path));

/** `readKey` for the start and for the command line. Never throws. */
export const readKeySync = (path: string): KeyFile => keyIn(path, readTextSync(path));

function keyIn(path: string, file: TextFile): KeyFile {
  if ('fault' in file) return file;
  const text = file.text.trim();
  return text === '' ? faultOf(path, 'empty', 'it is empty') : { key: new Secret(text) };
}

function decode(path: string, bytes: Buffer): TextFile {
  if (bytes.length > LARGEST) return faultOf(path, 'unreadable', 'it is larger than 1MiB');
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    return faultOf(path, 'unreadable', 'it is not UTF-8');
  }
}

const faultOf = (path: string, kind: FileFault['kind'], fault: string): FileFault => ({
  fault,
  kind,
  cause: new Error(`${path}: ${fault}`),
});

function unreadable(error: unknown): FileFault {
  const cause = error as NodeJS.ErrnoException;
  if (cause.code === 'ENOENT') return { fault: 'it is not there', kind: 'missing', cause };
  const fault =
    cause.code === 'EISDIR' ? 'it is a folder' : `it cannot be read (${cause.code ?? cause})`;
  return { fault, kind: 'unreadable', cause };
}

/** At most one byte more than the largest file, so that a larger one is noticed. */
async function readBytes(path: string): Promise<Buffer> {
  // Without O_NONBLOCK a pipe would hold one of the few threads that Node has for files.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return await buffer(file.createReadStream({ end: LARGEST, highWaterMark: USUAL }));
}

/** `readBytes`, but waits for the writer of a pipe: `--key-file <(…)` is one. */
function readBytesSync(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(LARGEST + 1);
    let length = 0;
    for (;;) {
      const count = readSync(file, bytes, length, bytes.length - length, null);
      length += count;
      if (count === 0 || length === bytes.length) return bytes.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}
