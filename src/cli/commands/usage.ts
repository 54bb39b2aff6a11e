import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { percentOf } from '../../keyring/client-limits.ts';
import { USAGE_COLUMNS, USAGE_FIELDS } from '../../store/usage-columns.ts';
import {
  createUsageDatabase,
  USAGE_GROUPS,
  type UsagePlace,
  type UsageRow,
  UsageStoreError,
} from '../../store/usage-database.ts';
import { oneLine } from '../../text/safe.ts';
import {
  readSince,
  reportOf,
  SINCE_WANTS,
  secondsOf,
  type UsageLine,
  type UsageReport,
  type UsageSince,
  type UsageSums,
} from '../../usage/report.ts';
import { AdminRefusal } from '../admin-client.ts';
import type { AdminSession, CommandContext, CommandDefinition } from '../command.ts';
import { JSON_FLAG, type JsonFlag, parseClient, wants } from '../options.ts';
import { showClock, showCount, showInstant, showTokens } from '../phrases.ts';
import { findStateFolder } from '../settings.ts';
import { alignColumns, barOf } from '../table.ts';
import {
  CommandError,
  EXIT,
  type ExitCode,
  isLive,
  paint,
  say,
  type Terminal,
  writeJson,
} from '../terminal.ts';

const HELP = `
Adds up what usage.db in SIDECAR_STATE holds and what the running sidecar has not written yet, by
hours of UTC. Where no sidecar runs the file alone is read. Costs are what LiteLLM said in its
answers; what it named no price for is counted, and never guessed.

  refused  the sidecar's own no         input   with what a provider read from its cache
  errors   LiteLLM answered 4xx, 5xx    output  with what a model thought and did not show
  budget   of a client: how much is used of what it may use today, of tokens or of dollars

Examples:
  $ sidecar usage
  $ sidecar usage --by model --since 24h
  $ sidecar usage --by day --since 2026-11-01 --client ci
  $ sidecar usage --by key --csv > usage.csv
  $ sidecar usage --json | jq .total.costUsd

Exit codes: 0 done, 1 usage.db cannot be read, 2 unknown flag or value, 69 no sidecar runs, and
there is no usage.db
`;

const EXPORT_HELP = `
Every hour, client, model and key that is kept, a row each, as CSV (RFC 4180) with a line of titles.
A name that a spreadsheet would take for a formula has a ' before it. What the running sidecar has
not written yet is written first.

Example:
  $ sidecar usage export > usage.csv

Exit codes: 0 done, 1 usage.db cannot be read
`;

interface UsageFlags extends JsonFlag {
  readonly by: UsageReport['by'];
  /** `7d`, as it was written. */
  readonly since: string;
  readonly client?: string;
  readonly model?: string;
  readonly csv?: boolean;
}

/** `sidecar usage`, and `sidecar usage export`. */
export const usageCommand: CommandDefinition = (program, context) => {
  const usage = program
    .command('usage')
    .description('show requests, tokens and cost by client, model, key or time')
    .addOption(new Option('--by <what>', 'what a row is').choices(USAGE_GROUPS).default('client'))
    .addOption(
      new Option('--since <span>', 'how far back: 24h, 7d, or a day: 2026-11-01')
        .argParser(parseSince)
        .default('7d'),
    )
    .option('--client <name>', 'of one client alone', parseClient)
    .option('--model <name>', 'of one model alone')
    .option('--csv', 'for a spreadsheet')
    .option(...JSON_FLAG)
    .addHelpText('after', HELP)
    .action((flags: UsageFlags) => context.ask(flags, (session) => show(context, session, flags)));
  usage
    .command('export')
    .description('write all that is kept as csv')
    .addHelpText('after', EXPORT_HELP)
    .action((_flags: object, _command: Command) =>
      context.ask({}, (session) => exportAll(context, session)),
    );
};

function parseSince(text: string): string {
  const reading = readSince(text);
  if ('value' in reading) return text;
  throw wants(SINCE_WANTS, reading.hint);
}

async function show(
  context: CommandContext,
  session: AdminSession,
  flags: UsageFlags,
): Promise<ExitCode> {
  const { terminal } = context;
  const report = await reportFor(context, session, flags);
  if (flags.csv === true) writeCsv(terminal, csvOf(report));
  else if (flags.json === true) writeJson(terminal, report);
  else terminal.stdout.write(await render(report, terminal));
  return EXIT.ok;
}

/** The running sidecar's report; where none runs, that of the file it left. */
async function reportFor(
  context: CommandContext,
  { api, time }: AdminSession,
  { by, since, client, model }: UsageFlags,
): Promise<UsageReport> {
  try {
    return await api('GET /api/usage', { query: { by, since, client, model } });
  } catch (error) {
    const state = findStateFolder(context.terminal);
    const path = join(state ?? '', 'usage.db');
    if (!isNoSidecar(error) || state === undefined || !existsSync(path)) throw error;
    const now = time.now();
    const { value } = readSince(since) as { readonly value: UsageSince };
    const query = { by, from: secondsOf(value, now), client, model };
    const { groups, lastWrite } = reading(path, (database) => database.read(query));
    const lastWrittenAt = lastWrite && new Date(lastWrite.at * 1000).toISOString();
    const store = { up: true, error: null, lastWrittenAt, pendingRows: 0 };
    say(context.terminal, `no sidecar runs: this is what ${path} holds`);
    return reportOf(query, groups, { now, store });
  }
}

const pathOf = (context: CommandContext): string =>
  join(context.state('what it counted goes with the process: `sidecar usage` asks it'), 'usage.db');

const isNoSidecar = (error: unknown): boolean =>
  error instanceof CommandError &&
  !(error instanceof AdminRefusal) &&
  error.exitCode === EXIT.unavailable;

function reading<T>(
  path: string,
  read: (database: ReturnType<typeof createUsageDatabase>) => T,
): T {
  const database = createUsageDatabase({ path, isReader: true });
  try {
    return read(database);
  } catch (error) {
    if (error instanceof UsageStoreError) throw new CommandError(error.message, EXIT.failed);
    throw error;
  } finally {
    database.close();
  }
}

const GAP = 2;
const BAR = 8;
const SHORTEST_NAME = 12;

async function render(report: UsageReport, terminal: Terminal): Promise<string> {
  const { by, since, until, rows, client, model } = report;
  const of = [client, model].filter((each) => each !== null).join(', ');
  const what = `usage by ${by}${of === '' ? '' : ` of ${oneLine(of)}`}`;
  const title = `${what}, ${showInstant(since)} to ${showInstant(until)}`;
  const notes = notesOf(report);
  if (rows.length === 0) return `${title}\n\nnothing was counted\n${notes}`;
  return `${title}\n\n${await tableOf(report, terminal)}${notes}`;
}

/** A number for each row of the table, and its title. */
interface NumberColumn {
  readonly title: string;
  /** Of a row, or of the sums of all. */
  readonly of: (sums: UsageSums | UsageLine) => string;
  /** Left out where no row has any. */
  readonly ifAny?: (report: UsageReport) => boolean;
}

const count = (value: number): string => value.toLocaleString('en-US');
const COLUMNS: readonly NumberColumn[] = [
  { title: 'requests', of: ({ requests }) => count(requests) },
  {
    title: 'refused',
    of: ({ refusals }) => count(refusals),
    ifAny: ({ total }) => total.refusals > 0,
  },
  { title: 'errors', of: ({ errors }) => count(errors), ifAny: ({ total }) => total.errors > 0 },
  { title: 'input', of: ({ tokens }) => showTokens(tokens.input) },
  { title: 'output', of: ({ tokens }) => showTokens(tokens.output) },
  { title: 'USD', of: showDollars },
  {
    title: 'budget',
    of: (sums) => ('budgetUsed' in sums ? showShare(sums.budgetUsed) : ''),
    ifAny: ({ rows }) => rows.some(({ budgetUsed }) => budgetUsed !== null),
  },
];

const showShare = (share: number | null): string =>
  share === null ? '-' : `${percentOf(share)} %`;

async function tableOf(report: UsageReport, terminal: Terminal): Promise<string> {
  const { by, rows, total } = report;
  const { stdout } = terminal;
  const columns = COLUMNS.filter(({ ifAny }) => ifAny === undefined || ifAny(report));
  const lines = [...rows, total].map((sums) => columns.map(({ of }) => of(sums)));
  const numbers = toTheRight([columns.map(({ title }) => title), ...lines]);
  const names = [by, ...rows.map((row) => nameOf(row, by)), 'total'];
  const weigh = scaleOf(total);
  const most = Math.max(...rows.map(weigh));
  const bars = ['', ...rows.map((row) => barOf(weigh(row) / most, BAR)), ''];

  const left = (isLive(terminal, stdout) ? (stdout.columns ?? Infinity) : Infinity) - GAP;
  const room = left - (numbers[0]?.join(' '.repeat(GAP)).length ?? 0);
  // The bars go before any part of a name does.
  const hasBars = Math.max(...names.map(({ length }) => length)) + GAP + BAR <= room;
  const cells = names.map((name, at) => [
    oneLine(name, Math.max(room, SHORTEST_NAME)),
    ...(numbers[at] ?? []),
    ...(hasBars ? [bars[at] ?? ''] : []),
  ]);
  const [head = [], ...body] = cells;
  return await alignColumns(
    head.map((title) => paint(terminal, stdout, 'bold', title)),
    body,
  );
}

/** What the bars show: what was paid, or the tokens where nothing has a price, or the requests. */
function scaleOf(total: UsageSums): (sums: UsageSums) => number {
  if (total.costUsd > 0) return ({ costUsd }) => costUsd;
  if (total.metered > 0) return ({ tokens }) => tokens.input + tokens.output;
  return ({ requests }) => requests;
}

function nameOf({ name, active }: UsageLine, by: UsageReport['by']): string {
  if (name === null) return '-';
  if (by === 'hour') return `${name.slice(0, 10)} ${name.slice(11, 13)}h`;
  return active === false ? `${name} (older)` : name;
}

/** Numbers stand below each other. */
function toTheRight(rows: readonly (readonly string[])[]): readonly (readonly string[])[] {
  const widths = (rows[0] ?? []).map((_, at) =>
    Math.max(...rows.map((row) => row[at]?.length ?? 0)),
  );
  return rows.map((row) => row.map((text, at) => text.padStart(widths[at] ?? 0)));
}

/** Cents where there are dollars, and as many digits as say something where there are not. */
function showDollars({ costUsd, metered, unpriced }: UsageSums): string {
  if (costUsd === 0) return metered > unpriced ? '0' : '-';
  return costUsd >= 1 ? costUsd.toFixed(2) : costUsd.toPrecision(3);
}

/** What is missing in the numbers, and what should be known of the file. */
function notesOf({ total, store }: UsageReport): string {
  const { metered, unmetered, unpriced } = total;
  const asked = metered + unmetered;
  const notes = [
    ...(unmetered > 0
      ? [`${shareOf(unmetered, asked)} of ${showCount(asked, 'answer')} said no usage`]
      : []),
    ...(unpriced > 0
      ? [`${shareOf(unpriced, metered)} of ${showCount(metered, 'answer')} with usage had no price`]
      : []),
    ...(store.error === null ? [] : [`not all of it: ${store.error}${sinceWords(store)}`]),
  ];
  return notes.length === 0 ? '' : `\n${notes.join('\n')}\n`;
}

const sinceWords = ({ lastWrittenAt }: UsageReport['store']): string =>
  lastWrittenAt === null ? '' : `; last written ${showClock(lastWrittenAt)}`;

function shareOf(part: number, whole: number): string {
  const percent = (100 * part) / whole;
  return percent > 0 && percent < 0.1 ? 'less than 0.1 %' : `${Number(percent.toFixed(1))} %`;
}

/** The columns of a report as CSV; the names of the file's columns, as in an export. */
const csvOf = ({ by, rows }: UsageReport): readonly (readonly unknown[])[] => [
  [by, ...(by === 'key' ? ['active'] : []), ...Object.values(USAGE_COLUMNS)],
  ...rows.map(({ name, active, tokens, ...rest }) => {
    const counts = { ...rest, ...tokens };
    const first = by === 'key' ? [name, active] : [name];
    return [...first, ...USAGE_FIELDS.map((field) => counts[field])];
  }),
];

const PAGE = 1000;

async function exportAll(context: CommandContext, { api }: AdminSession): Promise<ExitCode> {
  const { terminal } = context;
  try {
    const { error } = await api('POST /api/usage/save');
    if (error !== null) say(terminal, `what the sidecar has in memory is missing: ${error}`);
  } catch (error) {
    if (!isNoSidecar(error)) throw error;
  }
  writeCsv(terminal, [
    ['hour', 'client', 'model', 'key', 'active', ...Object.values(USAGE_COLUMNS)],
  ]);
  reading(pathOf(context), (database) => {
    let after: UsagePlace | undefined;
    // Page by page: while somebody reads, the sidecar cannot write.
    for (;;) {
      const rows = database.page(after, PAGE);
      writeCsv(terminal, rows.map(cellsOf));
      after = rows.at(-1);
      if (rows.length < PAGE) return;
    }
  });
  return EXIT.ok;
}

/** An hour as spreadsheets read it, in UTC: `2026-11-29 14:00`. */
function cellsOf({ hour, client, model, key, active, ...counts }: UsageRow): readonly unknown[] {
  const iso = new Date(hour * 1000).toISOString();
  const when = `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
  return [when, client, model, key, active, ...USAGE_FIELDS.map((field) => counts[field])];
}

const writeCsv = ({ stdout }: Terminal, rows: readonly (readonly unknown[])[]): void => {
  if (rows.length > 0) stdout.write(rows.map((row) => `${row.map(cellOf).join()}\r\n`).join(''));
};

/** RFC 4180 §2; and no spreadsheet takes a name for a formula (CWE-1236). */
function cellOf(value: unknown): string {
  const text = value === null ? '' : String(value);
  const harmless = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
