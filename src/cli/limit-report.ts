import {
  LIMITED,
  type Limited,
  type LimitUse,
  limitShares,
  NEARLY_USED,
  percentOf,
} from '../keyring/client-limits.ts';
import type { ClientView } from '../rotation/admin.ts';
import { showTokens, showUntil } from './phrases.ts';
import { barOf, type Cell, type LabelledLine, renderColumns } from './table.ts';
import type { Style, Terminal } from './terminal.ts';

/** How a limit is told: by its name, in a line of several, and of how much of it is used. */
interface LimitWords {
  readonly title: string;
  /** Behind the amount: `60 a minute`. */
  readonly short: string;
  readonly show: (amount: number) => string;
  readonly used: (use: LimitUse) => number;
  /** Kept back for what is in flight. */
  readonly reserved?: (use: LimitUse) => number;
}

const WORDS: Readonly<Record<Limited, LimitWords>> = {
  rpm: {
    title: 'requests a minute',
    short: 'requests a minute',
    show: showAmount,
    used: ({ requestsLastMinute }) => requestsLastMinute,
  },
  parallel: {
    title: 'requests in flight',
    short: 'in flight',
    show: showAmount,
    used: ({ inFlight }) => inFlight,
  },
  tokensPerDay: {
    title: 'tokens a day',
    short: 'tokens a day',
    show: showAmount,
    used: ({ tokensToday }) => tokensToday,
    reserved: ({ reservedTokens }) => reservedTokens,
  },
  usdPerDay: {
    title: 'dollars a day',
    short: 'a day',
    show: showUsd,
    used: ({ usdToday }) => usdToday,
    reserved: ({ reservedUsd }) => reservedUsd,
  },
};

/** `60`, `9,876`, `12.3k`, `2M`: without zeros that say nothing. */
function showAmount(amount: number): string {
  const text = showTokens(Math.round(amount));
  return text.includes('.') ? text.replace(/\.?0+(?=[kMG]$)/, '') : text;
}

/** `$5`, `$3.10`, `$0.0042`. */
function showUsd(usd: number): string {
  if (Number.isInteger(usd)) return `$${usd.toLocaleString('en-US')}`;
  if (usd < 0.1) return `$${Number(usd.toPrecision(2))}`;
  return `$${usd.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}

/** `60 requests a minute, 4 in flight, 2M tokens a day, $5 a day`; '' where nothing is limited. */
export function limitWords({ limits }: ClientView): string {
  const words = LIMITED.flatMap((name) => {
    const amount = limits?.[name] ?? null;
    const { show, short } = WORDS[name];
    return amount === null ? [] : [`${show(amount)} ${short}`];
  });
  return [...words, ...(limits?.mode === 'record' ? ['recorded only'] : [])].join(', ');
}

interface UsedLimit {
  readonly name: Limited;
  readonly amount: number;
  readonly share: number;
}

/** What a client uses of each limit that it has. */
function usedOf({ limits, use }: ClientView): readonly UsedLimit[] {
  if (limits === null || use === null) return [];
  const shares = limitShares(limits, use);
  return LIMITED.flatMap((name) => {
    const [amount, share] = [limits[name], shares[name]];
    return amount === null || share === undefined ? [] : [{ name, amount, share }];
  });
}

/** `1.2M of 2M (20k reserved)` */
function usedWords({ name, amount }: UsedLimit, use: LimitUse, unit = ''): string {
  const { show, used, reserved } = WORDS[name];
  const kept = reserved?.(use) ?? 0;
  const behind = kept > 0 ? ` (${show(kept)} reserved)` : '';
  return `${show(used(use))} of ${show(amount)}${unit}${behind}`;
}

const styleOf = (share: number): Style =>
  share >= 1 ? 'red' : share >= NEARLY_USED ? 'yellow' : 'dim';

const percent = (share: number): string => `${percentOf(share)} %`;

/** How many clients `sidecar status` tells of. */
const MOST_SHOWN = 10;

/** What clients use of their limits, a line each; those that have used most come first. */
export function limitLines(clients: readonly ClientView[]): readonly LabelledLine[] {
  const limited = clients
    .map((client) => ({ client, used: usedOf(client) }))
    .filter(({ used }) => used.length > 0)
    .map((each) => ({ ...each, most: Math.max(...each.used.map(({ share }) => share)) }))
    .sort((one, other) => other.most - one.most);
  const lines = limited.slice(0, MOST_SHOWN).map(({ client, used, most }): LabelledLine => {
    const { name, use, limits } = client;
    const words = used.map((each) =>
      usedWords(each, use as LimitUse, ` ${WORDS[each.name].short}`),
    );
    const recorded = limits?.mode === 'record' ? ' (recorded only)' : '';
    return {
      label: 'limits',
      style: styleOf(most),
      text: `${name}: ${words.join(', ')}${recorded}`,
    };
  });
  const more = limited.length - lines.length;
  if (more <= 0) return lines;
  const text = `and ${more} more with less in use: sidecar clients list`;
  return [...lines, { label: 'limits', style: 'dim', text }];
}

const HEAD = ['limit', 'used', '', 'share', 'begins anew'] as const;
const BAR = 10;
const DAY_MS = 86_400_000;

/** The limits of one client as a table, with what is used of each and until when that counts. */
export async function renderLimits(
  terminal: Terminal,
  client: ClientView,
  now: number,
): Promise<string> {
  const { use } = client;
  if (use === null) return '';
  const midnight = new Date((Math.floor(now / DAY_MS) + 1) * DAY_MS).toISOString();
  const rows = usedOf(client).map((each): readonly Cell[] => {
    const { title, reserved } = WORDS[each.name];
    const style = styleOf(each.share);
    return [
      title,
      usedWords(each, use),
      { text: barOf(Math.min(1, each.share), BAR), style },
      { text: percent(each.share), style },
      // Only what is counted by the day begins anew at an instant.
      reserved === undefined ? '' : showUntil(midnight, now),
    ];
  });
  return await renderColumns(terminal, terminal.stdout, HEAD, rows);
}
