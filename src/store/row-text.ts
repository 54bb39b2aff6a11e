import type { Generation } from '../keyring/keyring.ts';

/** A place in a row of generations: the same object as long as nothing up to it has changed. */
interface Place {
  readonly before: Place | undefined;
  /** Of the block that ends here, with a comma in front where it is not the first. */
  block: Uint8Array | undefined;
  /** Of this generation alone, until its block is full. */
  text: string | undefined;
}

const places = new WeakMap<Generation, Place>();

/** Generations to a block. */
const BLOCK = 64;

/**
 * The texts of a row of generations, with commas between them. A client that rotates has a thousand
 * tombstones sooner than a second name, and changes at the end of its row: what stands before is
 * made once, in blocks, in memory that another thread reads without a copy.
 */
export function* rowText(generations: readonly Generation[]): Generator<string | Uint8Array> {
  let place: Place | undefined;
  for (let first = 0; first < generations.length; first += BLOCK) {
    const row: Place[] = [];
    for (let at = first; at < Math.min(first + BLOCK, generations.length); at++) {
      place = placeOf(generations[at] as Generation, place);
      row.push(place);
    }
    if (place?.block !== undefined) {
      yield place.block;
      continue;
    }
    const texts = row.map((each, at) => (each.text ??= textOf(generations[first + at])));
    const text = (first === 0 ? '' : ',') + texts.join();
    // The last block may grow yet.
    if (place === undefined || row.length < BLOCK) {
      yield text;
      continue;
    }
    place.block = shared(text);
    for (const each of row) each.text = undefined;
    yield place.block;
  }
}

function shared(text: string): Uint8Array {
  const bytes = Buffer.from(new SharedArrayBuffer(Buffer.byteLength(text)));
  bytes.write(text);
  return bytes;
}

function placeOf(generation: Generation, before: Place | undefined): Place {
  const known = places.get(generation);
  if (known !== undefined && known.before === before) return known;
  const place: Place = { before, block: undefined, text: known?.text };
  places.set(generation, place);
  return place;
}

/** JSON has no Infinity: it would come back as no number at all. */
export const textOf = (value: unknown): string =>
  JSON.stringify(value, (_name, each: unknown) => {
    if (typeof each !== 'number' || Number.isFinite(each)) return each;
    throw new RangeError('a keyring with a number that is not finite cannot be stored');
  });
