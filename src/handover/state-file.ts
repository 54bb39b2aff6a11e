import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { StartupError } from '../startup-error.ts';
import { replaceFile, sweepLeftovers } from '../store/durable-file.ts';
import { createSaves, type SavesOptions, storeFault } from '../store/key-store.ts';
import { seal, unseal } from '../store/sealed.ts';
import { type UpstreamState, upstreamState } from './state.ts';

const document = z.strictObject({ format: z.literal(1), state: upstreamState, sum: z.string() });

/** The text of `upstream.json`, sealed. */
const encodeState = (content: UpstreamState): string =>
  seal(JSON.stringify({ format: 1, state: content }, undefined, 2).slice(0, -'\n}'.length));

/** Never throws, and quotes nothing of what stands in the file. */
function decodeState(
  bytes: Buffer,
): { readonly ok: true; readonly state: UpstreamState } | { readonly ok: false; reason: string } {
  const unsealed = unseal(bytes);
  if (!unsealed.ok) return { ok: false, reason: unsealed.reason };
  const parsed = document.safeParse(unsealed.content);
  if (parsed.success) return { ok: true, state: parsed.data.state };
  return { ok: false, reason: 'another version of the sidecar wrote it, or somebody changed it' };
}

/** What is known of the slots, in `upstream.json` of the state folder. */
export function createStateFile(folder: string) {
  const path = join(folder, 'upstream.json');
  return {
    /**
     * Resolves to undefined where nothing was ever stored.
     *
     * @throws StartupError where the file is there and cannot be used: a damaged file is never
     * taken for an empty one
     */
    async load(): Promise<UpstreamState | undefined> {
      await sweepLeftovers(dirname(path), 'upstream.json');
      const bytes = await readIfThere(path);
      if (bytes === undefined) return undefined;
      const decoded = decodeState(bytes);
      if (decoded.ok) return decoded.state;
      throw new StartupError('state', `${path} cannot be used: ${decoded.reason}`, { hint: HINT });
    },
    /**
     * The state is on the disk when this resolves. Where it rejects, the disk holds the state
     * before, or in a rare case this one: before anything else is saved, the state that counts must
     * be saved again.
     *
     * @throws StoreError where the disk does not take it
     */
    async save(content: UpstreamState): Promise<void> {
      try {
        await replaceFile(path, encodeState(content));
      } catch (error) {
        throw storeFault(`${path} cannot be saved`, path, error);
      }
    },
  };
}

export type StateFile = ReturnType<typeof createStateFile>;

const HINT =
  'put it back from a backup; or delete it: the sidecar then goes by the slots that it finds, ' +
  "and LiteLLM's history of handovers begins anew";

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new StartupError('state', `${path} cannot be read: ${message}`, {
      hint: 'let the user that the sidecar runs as read and write the state folder',
      cause,
    });
  }
}

interface StoredStateOptions extends SavesOptions {
  readonly file: StateFile;
  readonly state: UpstreamState;
}

type Listener = (next: UpstreamState, before: UpstreamState) => void;

/** The state by which the sidecar acts. A new state counts only once it is stored. */
export function createStoredState(options: StoredStateOptions) {
  const { file, mayWrite, onStore } = options;
  const listeners: Listener[] = [];
  let current = options.state;
  const saves = createSaves({ mayWrite, onStore });

  const save = async (next: UpstreamState): Promise<boolean> => {
    try {
      await saves.run(() => file.save(next));
      return true;
    } catch {
      return false;
    }
  };

  return {
    state: () => current,
    /** Why the last save failed; undefined: it did not fail. */
    error: saves.failure,
    /** Resolves to whether `next` is stored, and counts from now on. Never rejects. */
    async store(next: UpstreamState): Promise<boolean> {
      if (!(await save(next))) return false;
      const before = current;
      current = next;
      for (const listener of listeners) listener(next, before);
      return true;
    },
    /**
     * After a save that failed: saves the state that counts once more, because the one that failed
     * may stand on the disk all the same. Nothing may be acted on before. Resolves to whether disk
     * and memory agree.
     */
    settle: async () => saves.failure() === undefined || (await save(current)),
    /** `listener` is called after each change of the state; it must not throw. */
    onChange: (listener: Listener) => void listeners.push(listener),
  };
}

export type StoredState = ReturnType<typeof createStoredState>;
