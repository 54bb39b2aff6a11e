import type { Generation } from '../keyring/keyring.ts';

/** A place in a row of generations: the same object as long as nothing up to it has changed. */
interface Place {
  readonly before: Place | undefined;
  /** Of the block that ends here, with a comma in front where it is not the first. */
  block: Buffer | undefined;
}

const places = new WeakMap<Generation, Place>();

/** Generations to a block. */
const BLOCK = 64;

/**
 * The texts of a row of generations, with commas between them. A client that rotates has a thousand
 * tombstones sooner than a second name, and changes at the end of its row: what stands before is
 * made once, in blocks.
 */
export function* rowText(generations: readonly Generation[]): Generator<Buffer> {
  let place: Place | undefined;
  for (let first = 0; first < generations.length; first += BLOCK) {
    const block = generations.slice(first, first + BLOCK);
    for (const generation of block) place = placeOf(generation, place);
    const text = place?.block ?? Buffer.from((first === 0 ? '' : ',') + block.map(textOf).join());
    // The last block may grow yet.
    if (place !== undefined && block.length === BLOCK) place.block = text;
    yield text;
  }
}

function placeOf(generation: Generation, before: Place | undefined): Place {
  const known = places.get(generation);
  if (known !== undefined && known.before === before) return known;
  const place: Place = { before, block: undefined };
  places.set(generation, place);
  return place;
}

/** JSON has no Infinity: it would come back as no number at all. */
export const textOf = (value: unknown): string =>
  JSON.stringify(value, (_name, each: unknown) => {
    if (typeof each !== 'number' || Number.isFinite(each)) return each;
    throw new RangeError('a keyring with a number that is not finite cannot be stored');
  });
