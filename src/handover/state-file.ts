import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StartupError } from '../startup-error.ts';
import type { Disk } from '../store/disk.ts';
import { sweepLeftovers } from '../store/durable-file.ts';
import { storeFault } from '../store/key-store.ts';
import type { UpstreamState } from './state.ts';
import { decodeState, encodeState } from './state-format.ts';

export const statePath = (folder: string): string => join(folder, 'upstream.json');

/** What is known of the slots, in `upstream.json` of the state folder. */
export interface StateFile {
  /**
   * Undefined: there is none, because nothing was ever stored.
   *
   * @throws StartupError where it is there and cannot be used; it is never taken for an empty one
   */
  load(): Promise<UpstreamState | undefined>;
  /**
   * On the disk when it resolves. Where it rejects, the one before is there, or in a rare case this
   * one: whoever goes on writes again what counts.
   *
   * @throws StoreError where the disk does not take it
   */
  save(state: UpstreamState): Promise<void>;
}

export function createStateFile(folder: string, disk: Disk): StateFile {
  const path = statePath(folder);
  return {
    async load() {
      await sweepLeftovers(dirname(path), 'upstream.json');
      const bytes = await readIfThere(path);
      if (bytes === undefined) return undefined;
      const decoded = decodeState(bytes);
      if (decoded.ok) return decoded.state;
      throw new StartupError('state', `${path} cannot be used: ${decoded.reason}`, { hint: HINT });
    },
    async save(state) {
      try {
        await disk.run('replaceSealed', { path, data: encodeState(state) });
      } catch (error) {
        throw storeFault(`${path} cannot be saved`, path, error);
      }
    },
  };
}

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
