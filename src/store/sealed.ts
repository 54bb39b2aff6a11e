import { createHash, hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { FileData } from './durable-file.ts';

/** The end of a sealed file: the SHA-256 of every byte before `,\n  "sum"`. */
const TAIL = /,\n {2}"sum": "([\w-]{43})"\n\}\n$/;
const TAIL_LENGTH = ',\n  "sum": ""\n}\n'.length + 43;

/** About a millisecond's work. */
const SLICE = 256 * 1024;

/** Makes the pieces of a file, and lets other work of the thread have its turn after each slice. */
export async function collect(pieces: Iterable<string | Uint8Array>): Promise<FileData> {
  const collected: (string | Uint8Array)[] = [];
  let slice = 0;
  for (const piece of pieces) {
    collected.push(piece);
    slice += piece.length;
    if (slice < SLICE) continue;
    slice = 0;
    await setImmediate();
  }
  return collected;
}

/**
 * Completes a JSON object's text by its own checksum as the last field.
 *
 * @param data the text up to where the next field's comma would stand; ends without a line feed
 * @returns its bytes in order, not joined: a copy of all of them would be garbage at once
 */
export function seal(data: FileData): readonly Uint8Array[] {
  const sum = createHash('sha256');
  const chunks = data.map((each) => (typeof each === 'string' ? Buffer.from(each) : each));
  for (const bytes of chunks) sum.update(bytes);
  return [...chunks, Buffer.from(`,\n  "sum": "${sum.digest('base64url')}"\n}\n`)];
}

type Unsealed =
  | { readonly ok: true; readonly content: unknown }
  /** `content` is what could be read in spite of the wrong checksum; undefined: nothing. */
  | { readonly ok: false; readonly reason: string; readonly content: unknown };

/** Reads what `seal` made. Never throws; a reason quotes nothing of the file. */
export function unseal(bytes: Buffer): Unsealed {
  const content = parse(bytes.toString());
  const tail = TAIL.exec(bytes.subarray(-TAIL_LENGTH).toString());
  const sum = hash('sha256', bytes.subarray(0, -TAIL_LENGTH), 'base64url');
  if (tail?.[1] === sum && content !== undefined) return { ok: true, content };
  return { ok: false, reason: reasonOf(bytes, content), content };
}

function reasonOf(bytes: Buffer, content: unknown): string {
  if (bytes.length === 0) return 'it is empty';
  if (content === undefined) return 'it is half written, or was changed: it does not read as JSON';
  return 'it does not match its checksum: it was changed by hand, or by a bad disk';
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};
