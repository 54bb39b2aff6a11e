import { z } from 'zod';
import type { GenerationUse, Usage } from '../keyring/keyring.ts';
import type { FileData } from './durable-file.ts';
import { collect, unseal } from './sealed-text.ts';

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
