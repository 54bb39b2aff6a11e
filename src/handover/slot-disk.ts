import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { digestOf, generateKey } from '../keyring/key.ts';
import { ConfigTreeError } from '../litellm/config.ts';
import { masterKeyLine } from '../litellm/config-hints.ts';
import type { SlotName, Slots } from '../litellm/slots.ts';
import { Secret } from '../secret.ts';
import { sweepLeftovers, syncPath } from '../store/durable-file.ts';
import { readKeyFile, slotKeyPath, writeKeyFile } from '../store/key-files.ts';
import { type StoreError, storeFault } from '../store/key-store.ts';
import type { PlaceFailure, SlotOnDisk } from './observation.ts';

interface SlotDiskOptions {
  /** The state folder. */
  readonly state: string;
  readonly slots: Slots;
  /** What SIDECAR_LITELLM_CONFIG names. */
  readonly config: string | undefined;
}

const UNREAD: SlotOnDisk = { folder: 'none', keyDigest: undefined };

/**
 * The folders of the slots and the files of their keys. Nobody but this process writes them, so
 * they are read at the start and after each change, and not at each tick.
 */
export function createSlotDisk(options: SlotDiskOptions) {
  const { state, slots, config } = options;
  const known: Record<SlotName, SlotOnDisk> = { a: UNREAD, b: UNREAD };
  const keys: Record<SlotName, Secret | undefined> = { a: undefined, b: undefined };
  const keyPath = (slot: SlotName): string => slotKeyPath(state, slot);
  const keyFolder = dirname(keyPath('a'));

  const read = async (slot: SlotName): Promise<void> => {
    const key = await readKeyFile(keyPath(slot));
    const folder = await slots.read(slot).catch(() => 'damaged' as const);
    keys[slot] = key;
    known[slot] = { folder: folder ?? 'none', keyDigest: key && digestOf(key.reveal()) };
  };
  /** Reads the slot after a change, whether that succeeded or failed in the middle. */
  const thenRead = async (slot: SlotName, act: () => Promise<void>): Promise<void> => {
    try {
      await act();
    } finally {
      await read(slot);
    }
  };
  return {
    /** The slot as it was when it was read last. */
    seen: (slot: SlotName): SlotOnDisk => known[slot],
    key: (slot: SlotName): Secret | undefined => keys[slot],
    /** Reads both slots anew. @throws Error of Node's fs */
    async refresh(): Promise<void> {
      // A process that was killed while it wrote a key may have left a file with that key.
      await sweepLeftovers(keyFolder);
      await read('a');
      await read('b');
    },
    /** Makes the slot's key where there is none: a new one, or the same as the key of `copyOf`. */
    makeKey: (slot: SlotName, copyOf: SlotName | undefined): Promise<void> =>
      thenRead(slot, async () => {
        if ((await readKeyFile(keyPath(slot))) !== undefined) return;
        const key = copyOf === undefined ? new Secret(generateKey()) : keys[copyOf];
        if (key === undefined) throw new Error(`slot ${copyOf} has no key to copy`);
        await writeKeyFile(keyPath(slot), key);
      }),
    /** Puts the folder in place, with the configuration of the slot `from`, or of the setting. */
    place: (slot: SlotName, from: SlotName | 'setting'): Promise<void> =>
      thenRead(slot, async () => {
        const key = keys[slot];
        if (key === undefined) throw new Error(`slot ${slot} has no key to run with`);
        const content = from === 'setting' ? config : await slots.configOf(from);
        await slots.place(slot, { key, config: content });
      }),
    /** The line of the slot's own config.yaml that sets a master_key; never rejects. */
    masterKeyLine: (slot: SlotName) => lineIn(slots, slot),
    /** Takes the folder away, then the key: no LiteLLM runs with a key that is stored nowhere. */
    clear: (slot: SlotName): Promise<void> =>
      thenRead(slot, async () => {
        await slots.remove(slot);
        await removeKey(keyPath(slot));
      }),
  };
}

export type SlotDisk = ReturnType<typeof createSlotDisk>;

async function lineIn(slots: Slots, slot: SlotName): Promise<number | undefined> {
  const folder = await slots.configOf(slot).catch(() => undefined);
  return folder === undefined ? undefined : await masterKeyLine(folder);
}

/** Removes the key's file durably; where there is none, nothing is left to do. */
async function removeKey(path: string): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await rm(path, { force: true });
  await syncPath(folder);
}

/** Why a slot could not be written, in words for an operator. */
export function placeFailure(error: unknown): PlaceFailure {
  if (error instanceof ConfigTreeError) {
    const hint = 'mend what SIDECAR_LITELLM_CONFIG names, then `sidecar upstream reload`';
    return { code: 'config_unusable', message: error.message, hint };
  }
  const { path = 'the slot' } = error as NodeJS.ErrnoException;
  const { message, hint } = storeFault(`${path} cannot be written`, path, error) as StoreError;
  return { code: 'disk', message, hint: hint ?? 'see SIDECAR_SLOTS and SIDECAR_STATE' };
}
