import { readFile } from 'node:fs/promises';
import type { Usage } from '../keyring/keyring.ts';
import type { Disk } from './disk.ts';
import { storeFault } from './store-fault.ts';
import { decodeUsage, encodeUsage } from './usage-format.ts';

/** Who used what; worth less than keys. */
export interface UsageFile {
  /** Never rejects: what cannot be read is none. */
  load(): Promise<Usage>;
  save(usage: Usage): Promise<void>;
  /** Why `load` found none though there is a file. */
  readonly warning: string | undefined;
}

export function createUsageFile(path: string, disk: Disk): UsageFile {
  let warning: string | undefined;
  return {
    get warning() {
      return warning;
    },
    async load() {
      warning = undefined;
      try {
        const usage = decodeUsage(await readFile(path));
        if (usage !== undefined) return usage;
        warning = `${path} is damaged: who used which key starts anew`;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
        warning = `${path} cannot be read: who used which key starts anew`;
      }
      return new Map();
    },
    async save(usage) {
      try {
        await disk.run('replaceSealed', { path, data: await encodeUsage(usage) });
      } catch (error) {
        throw storeFault(`${path} cannot be saved`, path, error);
      }
    },
  };
}
