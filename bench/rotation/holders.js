/** Clients that hold a key and move to each new one within its grace, each in its own time. */
import { constants, readFileSync } from 'node:fs';

/** Every fourth client reads the published file; the others are told the key. */
const READERS = 4;

/** At once: four turns of a thread pool cost the load more. Without a note of it on the disk. */
const flag = constants.O_RDONLY | (constants.O_NOATIME ?? 0);

/**
 * @typedef {object} Move
 * @property {string} key
 * @property {number} number
 * @property {number} at of `performance.now()`
 */

/** @param {string} first @param {boolean} reads */
function createHolder(first, reads) {
  let current = { key: first, number: 1 };
  /** @type {Move[]} */
  let planned = [];
  let moves = 0;
  const take = (/** @type {{key: string, number: number}} */ next) => {
    if (next.number <= current.number) return;
    current = next;
    planned = planned.filter(({ number }) => number > next.number);
    moves += 1;
  };
  return {
    reads,
    take,
    /** @param {Move} move */
    plan: (move) => planned.push(move),
    moves: () => moves,
    /** At the time of a request: a timer that is late makes no client late. */
    key() {
      const now = performance.now();
      for (const move of planned.filter(({ at }) => at <= now)) take(move);
      return current.key;
    },
  };
}

/**
 * @param {{count: number, key: string, keyFile: string, withinMs: number,
 *   onFault: (what: string) => void}} given a client has moved `withinMs` after a key
 *   was heard of, or was read and may be in use, whichever came first
 */
export function createHolders({ count, key, keyFile, withinMs, onFault }) {
  const holders = Array.from({ length: count }, (_, at) => createHolder(key, at % READERS === 0));

  /** When a key was first read, before it was heard of: from then on it may be in use. */
  /** @type {Map<string, number>} */
  const seenAt = new Map();

  /** What is read may be newer than what was heard of, never older. @param {number} number */
  const read = (/** @type {typeof holders[number]} */ holder, number) => {
    try {
      const found = readFileSync(keyFile, { encoding: 'utf8', flag }).trim();
      if (!seenAt.has(found)) seenAt.set(found, performance.now());
      holder.take({ key: found, number });
    } catch (error) {
      onFault(`the key file: ${error instanceof Error ? error.message : String(error)}`);
    }
  };

  return {
    holders,
    /** @param {{key: string, number: number}} next */
    heard(next) {
      const now = performance.now();
      const leftMs = Math.max(0, (seenAt.get(next.key) ?? now) + withinMs - now);
      for (const holder of holders) {
        const afterMs = Math.random() * leftMs;
        holder.plan({ ...next, at: now + (holder.reads ? leftMs : afterMs) });
        if (holder.reads) setTimeout(() => read(holder, next.number), afterMs);
      }
    },
    moves: () => holders.reduce((sum, holder) => sum + holder.moves(), 0),
  };
}
