import type { Generation } from '../keyring/keyring.ts';

/** The text of some generations in a row that have ended, and so will hardly change again. */
interface Block {
  readonly first: number;
  readonly of: readonly Generation[];
  /** With a comma in front where it is not the first. */
  readonly text: Uint8Array;
}

/** By the last generation in it. */
const blocks = new WeakMap<Generation, Block>();
/** Of generations in no block. */
const texts = new WeakMap<Generation, string>();

/** Generations to a block. */
const BLOCK = 64;

/**
 * The texts of a row of generations, with commas between them. A client that rotates has a thousand
 * tombstones sooner than a second name, and changes at the end of its row: what stands before is
 * made once, in blocks, in memory that another thread reads without a copy.
 */
export function* rowText(generations: readonly Generation[]): Generator<string | Uint8Array> {
  for (let first = 0; first < generations.length; first += BLOCK) {
    const last = generations[first + BLOCK - 1];
    const known = last && blocks.get(last);
    if (known?.first === first && isOf(known, generations)) yield known.text;
    else yield textFrom(generations, first);
  }
}

function textFrom(generations: readonly Generation[], first: number): string | Uint8Array {
  const row = generations.slice(first, first + BLOCK);
  const text = (first === 0 ? '' : ',') + row.map(cachedText).join();
  const last = row[BLOCK - 1];
  if (last === undefined || !row.every(({ endedAt }) => endedAt !== undefined)) return text;
  const block = { first, of: row, text: shared(text) };
  blocks.set(last, block);
  for (const each of row) texts.delete(each);
  return block.text;
}

function isOf({ first, of }: Block, generations: readonly Generation[]): boolean {
  for (let at = 0; at < of.length; at++) if (of[at] !== generations[first + at]) return false;
  return true;
}

function cachedText(generation: Generation): string {
  const text = texts.get(generation) ?? textOf(generation);
  texts.set(generation, text);
  return text;
}

function shared(text: string): Uint8Array {
  const bytes = Buffer.from(new SharedArrayBuffer(Buffer.byteLength(text)));
  bytes.write(text);
  return bytes;
}

/** JSON has no Infinity: it would come back as no number at all. */
export const textOf = (value: unknown): string =>
  JSON.stringify(value, (_name, each: unknown) => {
    if (typeof each !== 'number' || Number.isFinite(each)) return each;
    throw new RangeError('a keyring with a number that is not finite cannot be stored');
  });
