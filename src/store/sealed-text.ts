import { createHash, hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

/** The end of a sealed file: the SHA-256 of every byte before `,\n  "sum"`. */
const TAIL = /,\n {2}"sum": "([\w-]{43})"\n\}\n$/;
const TAIL_LENGTH = ',\n  "sum": ""\n}\n'.length + 43;

/** How much is encoded and hashed before others have their turn: about a millisecond. */
const SLICE = 256 * 1024;

/**
 * A JSON object's text with its own checksum as the last field. The loop is let go in between, so
 * that a large one holds nobody up.
 *
 * @returns its bytes in order, not joined: a copy of them all would be garbage at once
 * @param parts the text up to where the next field's comma would stand; ends without a line feed
 */
export async function seal(parts: Iterable<string | Buffer>): Promise<readonly Buffer[]> {
  const sum = createHash('sha256');
  const chunks: Buffer[] = [];
  let slice = 0;
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    sum.update(bytes);
    chunks.push(bytes);
    slice += bytes.length;
    if (slice < SLICE) continue;
    slice = 0;
    await setImmediate();
  }
  chunks.push(Buffer.from(`,\n  "sum": "${sum.digest('base64url')}"\n}\n`));
  return chunks;
}

export type Unsealed =
  | { readonly ok: true; readonly content: unknown }
  /** `content` is what can be read all the same. */
  | { readonly ok: false; readonly reason: string; readonly content: unknown };

/** Never throws, and quotes nothing of what it reads. */
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
