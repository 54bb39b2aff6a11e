import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { GenerationUse, Usage } from '../keyring/keyring.ts';
import type { Disk } from './disk.ts';
import type { FileData } from './durable-file.ts';
import { storeFault } from './key-store.ts';
import { collect, unseal } from './keyring-format.ts';

const use = z.strictObject({
  lastAt: z.number(),
  count: z.number(),
  callers: z.array(
    z.strictObject({
      address: z.string(),
      userAgent: z.string(),
      firstAt: z.number(),
      lastAt: z.number(),
      count: z.number(),
    }),
  ),
});
const document = z.strictObject({
  format: z.literal(1),
  usage: z.array(z.tuple([z.string(), use])),
  sum: z.string(),
});

/** Most generations were not used since the last time: the text of each use is made once. */
const texts = new WeakMap<GenerationUse, string>();

/** The text of `usage.json`, to be sealed: a line for each generation. */
export function encodeUsage(usage: Usage): Promise<FileData> {
  return collect(partsOf(usage));
}

function* partsOf(usage: Usage): Generator<string> {
  yield '{\n  "format": 1,\n  "usage": [';
  let separator = '';
  for (const [id, each] of usage) {
    const text = texts.get(each) ?? JSON.stringify(each);
    texts.set(each, text);
    yield `${separator}\n    [${JSON.stringify(id)},${text}]`;
    separator = ',';
  }
  yield '\n  ]';
}

/** Undefined: it is not what `encodeUsage` made, once sealed. */
export function decodeUsage(bytes: Buffer): Usage | undefined {
  const unsealed = unseal(bytes);
  if (!unsealed.ok) return undefined;
  const parsed = document.safeParse(unsealed.content);
  return parsed.success ? new Map(parsed.data.usage) : undefined;
}

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
