import { closeSync, constants, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';

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
