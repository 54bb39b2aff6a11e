import { closeSync, openSync, readSync } from 'node:fs';

/** No file of settings or keys comes near this; a device would never end. */
const LARGEST = 1024 * 1024;

/** A file's text, or why there is none, as a sentence. */
export type TextFile =
  | { readonly text: string }
  | { readonly fault: string; readonly missing: boolean };

/** Reads a file of UTF-8, with or without a byte order mark; never throws. */
export function readText(path: string): TextFile {
  const fault = (text: string, missing = false): TextFile => ({ fault: text, missing });
  let bytes: Buffer;
  try {
    bytes = readBytes(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    if (code === 'ENOENT') return fault('it is not there', true);
    if (code === 'EISDIR') return fault('it is a folder');
    return fault(`it cannot be read (${code})`);
  }
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
