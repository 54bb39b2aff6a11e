import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';

/** Enough for a Python traceback. */
const BYTES = 16_384;

/** The last lines of a log that is being written; none where it cannot be read. */
export function tailOf(file: string, lines: number): readonly string[] {
  try {
    const descriptor = openSync(file, 'r');
    try {
      const { size } = fstatSync(descriptor);
      const buffer = Buffer.alloc(Math.min(size, BYTES));
      readSync(descriptor, buffer, 0, buffer.length, size - buffer.length);
      const text = stripVTControlCharacters(buffer.toString('utf8'));
      return text
        .split(/\r\n|\n|\r/)
        .filter((line) => line.trim() !== '')
        .slice(-lines);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return [];
  }
}
