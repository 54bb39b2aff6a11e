import type { DeclaredPlaces, DeclaredReading } from '../config/load.ts';
import { digestOf } from '../keyring/key.ts';
import { createWatch, type Watch, type WatchOptions } from '../watch.ts';

export interface KeyWatchOptions
  extends Pick<WatchOptions<DeclaredReading>, 'onSettled' | 'settled' | 'pollMs'> {
  readonly places: DeclaredPlaces;
}

/** A key is one short line: whoever writes it does not pause for so long in the middle. */
const SETTLE_MS = 250;

/** Follows a key that the operator declared, in all places where it may stand. */
export const createKeyWatch = ({ places, ...options }: KeyWatchOptions): Watch =>
  createWatch({
    ...options,
    read: places.read,
    markOf,
    settleMs: SETTLE_MS,
  });

/** Holds the digest of a key, and not the key. */
function markOf(reading: DeclaredReading): string {
  if ('fault' in reading) return `fault ${reading.fault}`;
  const { value } = reading;
  return value === undefined ? 'nothing' : `${value.source} ${digestOf(value.key.reveal())}`;
}
