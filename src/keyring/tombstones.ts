import { type Generation, isValid } from './keyring.ts';

/**
 * Remembers the tombstones that rows of generations begin with. A client that rotates has a
 * thousand of them sooner than a second name: a change must not cost a look at each.
 */
export interface Tombstones {
  /**
   * How many at the beginning of a row were noted before, none of them missing or replaced.
   *
   * @param at what was noted with a later one is not known yet
   */
  countIn(row: readonly Generation[], at?: number): number;
  /** All of the row was looked at, at that instant. */
  note(row: readonly Generation[], at?: number): void;
}

interface Beginning {
  readonly row: readonly Generation[];
  readonly length: number;
  readonly at: number;
}

export function createTombstones(): Tombstones {
  /** By its last generation. */
  const beginnings = new WeakMap<Generation, Beginning>();
  const known = (row: readonly Generation[]): Beginning | undefined => {
    // It ends where the valid ones begin, or a little before: among the newest.
    const last = row.findLast((each) => beginnings.has(each));
    const beginning = last && beginnings.get(last);
    return beginning && beginsWith(row, beginning) ? beginning : undefined;
  };

  return {
    countIn(row, at = 0) {
      const beginning = known(row);
      return beginning === undefined || beginning.at > at ? 0 : beginning.length;
    },
    note(row, at = 0) {
      const before = known(row);
      let length = before?.length ?? 0;
      for (let next = row[length]; next !== undefined && !isValid(next); next = row[length]) {
        length += 1;
      }
      const last = row[length - 1];
      if (last === undefined) return;
      // One row is held for each client, and not one for each of its generations.
      const lastBefore = before?.row[before.length - 1];
      if (lastBefore !== undefined) beginnings.delete(lastBefore);
      beginnings.set(last, { row, length, at });
    },
  };
}

/** Compares the objects alone: they are immutable, and what is in them is not in the cache. */
function beginsWith(row: readonly Generation[], { row: other, length }: Beginning): boolean {
  for (let at = 0; at < length; at++) if (row[at] !== other[at]) return false;
  return true;
}
