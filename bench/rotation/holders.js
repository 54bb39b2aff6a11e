/** Clients that hold a key and move to each new one within its grace, each in its own time. */
import { readFile } from 'node:fs/promises';

/** Every fourth client reads the published file; the others are told the key. */
const READERS = 4;

/**
 * @param {{count: number, key: string, keyFile: string, withinMs: number,
 *   onFault: (what: string) => void}} given `withinMs` a client has moved, at the latest
 */
export function createHolders({ count, key: first, keyFile, withinMs, onFault }) {
  const holders = Array.from({ length: count }, (_, at) => ({
    current: first,
    number: 1,
    reads: at % READERS === 0,
  }));
  let moves = 0;

  /** @param {typeof holders[number]} holder @param {{key: string, number: number}} next */
  const move = async (holder, next) => {
    let { key } = next;
    if (holder.reads) {
      // Reads take a moment: what is read may be newer than what was heard of, never older.
      try {
        key = (await readFile(keyFile, 'utf8')).trim();
      } catch (error) {
        onFault(`the key file: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    if (next.number <= holder.number) return;
    holder.current = key;
    holder.number = next.number;
    moves += 1;
  };

  return {
    holders: holders.map((holder) => ({ key: () => holder.current })),
    /** @param {{key: string, number: number}} next */
    heard(next) {
      for (const holder of holders) {
        setTimeout(() => void move(holder, next), Math.random() * withinMs);
      }
    },
    moves: () => moves,
  };
}
