import { hash } from 'node:crypto';

/** The end of a sealed file: the SHA-256 of every byte before `,\n  "sum"`. */
const TAIL = /,\n {2}"sum": "([\w-]{43})"\n\}\n$/;
const TAIL_LENGTH = ',\n  "sum": ""\n}\n'.length + 43;

/**
 * Completes a JSON object's text by its own checksum as the last field.
 *
 * @param text up to where the next field's comma would stand; ends without a line feed
 */
export const seal = (text: string): string =>
  `${text},\n  "sum": "${hash('sha256', text, 'base64url')}"\n}\n`;

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
