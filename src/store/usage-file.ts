import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import type { GenerationUses } from '../keyring/keyring.ts';
import { ifThere, replaceFile } from './durable-file.ts';
import { storeFault } from './key-store.ts';
import { seal, unseal } from './sealed.ts';

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

/** The text of `usage.json`, sealed: a line for each generation. */
function encodeUsage(usage: GenerationUses): string {
  const lines = [...usage].map((each) => `\n    ${JSON.stringify(each)}`);
  return seal(`{\n  "format": 1,\n  "usage": [${lines.join()}\n  ]`);
}

/** The use of each generation; undefined: the bytes are not what `encodeUsage` made. */
function decodeUsage(bytes: Buffer): GenerationUses | undefined {
  const unsealed = unseal(bytes);
  if (!unsealed.ok) return undefined;
  const parsed = document.safeParse(unsealed.content);
  return parsed.success ? new Map(parsed.data.usage) : undefined;
}

/** The file that says who used which key; a loss of it is told, and stops nothing. */
export function createUsageFile(path: string) {
  let warning: string | undefined;
  return {
    /** Why `load` took a file that is there for empty. */
    get warning() {
      return warning;
    },
    /** Never rejects: a file that cannot be read counts as empty. */
    async load(): Promise<GenerationUses> {
      warning = undefined;
      try {
        const bytes = await ifThere(readFile(path));
        const usage = bytes === undefined ? new Map() : decodeUsage(bytes);
        if (usage !== undefined) return usage;
        warning = `${path} is damaged: the record of who used which key begins anew`;
      } catch {
        warning = `${path} cannot be read: the record of who used which key begins anew`;
      }
      return new Map();
    },
    async save(usage: GenerationUses): Promise<void> {
      await replaceFile(path, encodeUsage(usage)).catch((error: unknown) => {
        throw storeFault(`${path} cannot be saved`, path, error);
      });
    },
  };
}
