import type { MayUseModel } from '../keyring/model-globs.ts';
import { fieldOf, parseJson } from '../text/safe.ts';

/**
 * Where an entry of a list of models has its name: OpenAI's and Anthropic's form `id`,
 * `/v1/model/info` `model_name`, `/model_group/info` `model_group`, Codex's catalogue `slug`.
 */
const NAMED_BY = ['id', 'model_name', 'model_group', 'slug'] as const;
/** Where the list stands: Codex's catalogue has it in `models`. */
const LISTS = ['data', 'models'] as const;

/**
 * LiteLLM's answer on a route that lists models, with none but those that may be used.
 *
 * @returns undefined where this is no list that is known: nobody may see it then
 */
export function onlyModels(text: string, mayUse: MayUseModel): string | undefined {
  const answer = parseJson(text);
  if (typeof answer !== 'object' || answer === null) return undefined;
  const found = LISTS.filter((name) => Array.isArray(fieldOf(answer, name)));
  if (found.length === 0) return undefined;
  const out: Record<string, unknown> = { ...answer };
  for (const name of found) {
    const entries = fieldOf(answer, name) as unknown[];
    out[name] = entries.filter((entry) => isAllowed(entry, mayUse)).map(withFewer(mayUse));
  }
  const names = (out[found[0] ?? ''] as unknown[]).map(nameOf);
  // Anthropic's form says where its page begins and ends.
  const page = { first_id: names[0] ?? null, last_id: names.at(-1) ?? null };
  return JSON.stringify('first_id' in answer ? { ...out, ...page } : out);
}

function nameOf(entry: unknown): string | undefined {
  if (typeof entry === 'string') return entry;
  for (const name of NAMED_BY) {
    const value = fieldOf(entry, name);
    if (typeof value === 'string') return value;
  }
  return undefined;
}

function isAllowed(entry: unknown, mayUse: MayUseModel): boolean {
  const name = nameOf(entry);
  return name !== undefined && mayUse(name);
}

/** With `include_metadata` an entry names the models that are asked where it fails. */
const withFewer =
  (mayUse: MayUseModel) =>
  (entry: unknown): unknown => {
    const metadata = fieldOf(entry, 'metadata');
    const fallbacks = fieldOf(metadata, 'fallbacks');
    if (!Array.isArray(fallbacks)) return entry;
    const kept = fallbacks.filter((name) => typeof name === 'string' && mayUse(name));
    return { ...(entry as object), metadata: { ...(metadata as object), fallbacks: kept } };
  };
