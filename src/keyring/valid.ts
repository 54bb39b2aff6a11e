import { type Client, type Generation, isValid } from './keyring.ts';
import { createTombstones } from './tombstones.ts';

const tombstones = createTombstones();
const found = new WeakMap<readonly Generation[], readonly Generation[]>();

/**
 * The generations of a row that are active or retiring, by number. Every change asks for them many
 * times, and they are eight at most among a thousand: a row is searched once.
 */
export function validIn(row: readonly Generation[]): readonly Generation[] {
  const known = found.get(row);
  if (known !== undefined) return known;
  const valid = row.slice(tombstones.countIn(row)).filter(isValid);
  tombstones.note(row);
  found.set(row, valid);
  return valid;
}

export const activeOf = ({ generations }: Client): Generation | undefined =>
  validIn(generations).find(({ state }) => state === 'active');

/** A row with some of its generations in the place of others. */
export function replacedIn(
  row: readonly Generation[],
  pairs: readonly (readonly [Generation, Generation])[],
): readonly Generation[] {
  const next = [...row];
  // What changes is among the newest.
  for (const [before, after] of pairs) next[row.lastIndexOf(before)] = after;
  return next;
}
