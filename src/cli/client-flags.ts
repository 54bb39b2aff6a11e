import type { Command } from 'commander';
import { blocks, modelGlob } from '../config/kinds.ts';
import { amount, dollars, type Kind } from '../config/units.ts';
import { LIMIT_MODES, LIMITED, type LimitMode } from '../keyring/client-limits.ts';
import { nearest } from '../text/nearest.ts';
import { didYouMean, JSON_FLAG, type JsonFlag, parseSpan, wants } from './options.ts';

/** What stands below the flags, in the help of a command that has them. */
export const RIGHTS_HELP = `
Limits hold at this sidecar; days are those of UTC. --limit-mode refuse (the default) answers 429 to
what is over a limit, record only counts it. In the name of a model * stands for any characters.`;

/** What a client may do; a word of these takes off what there is. */
export interface RightsFlags extends JsonFlag {
  /** `90d`, from now; or `never`. */
  readonly expires?: string;
  readonly allowFrom?: readonly string[] | 'anywhere';
  readonly namesEndUsers?: boolean;
  readonly rpm?: number | 'none';
  readonly parallel?: number | 'none';
  readonly tokensPerDay?: number | 'none';
  readonly usdPerDay?: number | 'none';
  readonly limitMode?: LimitMode;
  readonly model?: readonly string[] | 'all';
}

/** The flags that say what a client may do. */
export const addRights = (command: Command): Command =>
  command
    .option('--expires <duration>', 'when its keys end, from now: 90d', parseExpiry)
    .option('--allow-from <block>', 'where it may call from; may be repeated', parseBlock)
    .option('--names-end-users', 'it speaks for many, and says to LiteLLM whose a request is')
    .option('--rpm <count>', 'requests a minute: 60', amountParser(amount))
    .option('--parallel <count>', 'requests in flight: 4', amountParser(amount))
    .option('--tokens-per-day <count>', 'read and written: 2M', amountParser(amount))
    .option('--usd-per-day <dollars>', 'what it may cost: 5 or 0.50', amountParser(dollars))
    .option('--limit-mode <mode>', 'refuse (default) or record what is over a limit', parseMode)
    .option('--model <name>', "a model that it may use: 'gpt-4o*'; may be repeated", parseModel)
    .option(...JSON_FLAG);

/** What the flags change, as the admin API takes it (RFC 7396): null takes off. */
export function changesIn(flags: RightsFlags) {
  const { expires, allowFrom, namesEndUsers, limitMode: mode, model } = flags;
  const amounts = LIMITED.flatMap((name) => {
    const value = flags[name];
    return value === undefined ? [] : [[name, value === 'none' ? null : value] as const];
  });
  const limits = { ...Object.fromEntries(amounts), ...(mode && { mode }) };
  return {
    ...(expires !== undefined && { expires: expires === 'never' ? null : expires }),
    ...(allowFrom !== undefined && { allowFrom: listIn(allowFrom) }),
    ...(namesEndUsers !== undefined && { namesEndUsers }),
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(model !== undefined && { models: listIn(model) }),
  };
}

const listIn = (list: readonly string[] | string): string[] | null =>
  typeof list === 'string' ? null : [...list];

/** A number as people write it; `none` takes the limit off. */
const amountParser =
  ({ read, allowed }: Kind<number>) =>
  (text: string): number | 'none' => {
    if (text === 'none') return text;
    const reading = read(text.trim());
    if ('value' in reading) return reading.value;
    throw wants(`${allowed}, or none`, reading.hint);
  };

function parseMode(text: string): LimitMode {
  const word = text.trim().toLowerCase();
  const mode = LIMIT_MODES.find((known) => known === word);
  if (mode !== undefined) return mode;
  throw wants(LIMIT_MODES.join(' or '), didYouMean(nearest(word, LIMIT_MODES)));
}

/** One model, by its name or a part of it; `all` where it stands alone. */
function parseModel(text: string, before: readonly string[] | 'all' = []) {
  if (text === 'all' && before.length === 0) return text;
  if (text === 'all' || before === 'all') throw wants('all alone, or the names of models');
  const reading = modelGlob.read(text.trim());
  if ('value' in reading) return [...before, reading.value];
  throw wants(modelGlob.allowed, reading.hint);
}

/** A span from now, `90d`, or `never`. */
function parseExpiry(text: string): string {
  if (text === 'never') return text;
  const what = 'a duration from now with its unit, such as 12h or 90d';
  if (/^0(?:ms|s|m|h|d)?$/.test(text))
    throw wants(what, 'a key that is born expired opens nothing');
  return parseSpan(text, what);
}

/**
 * Blocks as the settings write them, one or a list; an address alone is a block of one; `anywhere`
 * where it stands alone.
 */
function parseBlock(text: string, before: readonly string[] | 'anywhere' = []) {
  if (text === 'anywhere' && before.length === 0) return text;
  if (text === 'anywhere' || before === 'anywhere') throw wants('anywhere alone, or addresses');
  const reading = blocks.read(text);
  if ('value' in reading && reading.value.length > 0) return [...before, ...reading.value];
  const hint = 'hint' in reading ? reading.hint : '';
  throw wants('an address or a CIDR block, such as 192.0.2.7 or 10.0.0.0/8', hint);
}
