import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/**
 * The whole lines of a file's first and last bytes; all of its lines where that is all of it. Who
 * writes it is not trusted: no link is followed, nothing but a plain file is read, none waits.
 *
 * @throws Error where there is no plain file, or it cannot be read.
 */
export async function linesAtEnds(
  path: string,
  bytes: { readonly first: number; readonly last: number },
): Promise<readonly string[]> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  // A FIFO would wait for a writer, and a link lead to what only the sidecar may read.
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new Error(`${path} is no plain file`);
    const { first, last } = bytes;
    if (found.size <= first + last) return linesOf(await read(file, 0, found.size));
    const head = linesOf(await read(file, 0, first));
    const tail = linesOf(await read(file, found.size - last, last));
    // What stands at the gap is cut, and may be half a key.
    return [...head.slice(0, -1), ...tail.slice(1)];
  } finally {
    await file.close();
  }
}

async function read(file: FileHandle, from: number, length: number): Promise<string> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, from);
  return buffer.toString('utf8', 0, bytesRead);
}

/** The last one is what stands behind the last line feed: '' where the text ends in one. */
const linesOf = (text: string): readonly string[] => text.split('\n');
