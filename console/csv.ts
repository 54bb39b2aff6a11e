import type { UsageCounts } from '../src/store/usage-database.ts';
import type { UsageReport } from '../src/usage/report.ts';

/** Names and order of the columns of `sidecar usage --csv`, which are those of `usage.db`. */
const COLUMNS = {
  requests: 'requests',
  refusals: 'refusals',
  errors: 'errors',
  metered: 'metered',
  unmetered: 'unmetered',
  unpriced: 'unpriced',
  input: 'input_tokens',
  output: 'output_tokens',
  cached: 'cached_tokens',
  cacheWrite: 'cache_write_tokens',
  reasoning: 'reasoning_tokens',
  costUsd: 'cost_usd',
} as const satisfies Record<keyof UsageCounts, string>;

type Row = readonly (string | number | boolean | null)[];

/** The rows of a usage report, byte by byte as `sidecar usage --csv` writes them. */
export const usageCsv = ({ by, rows }: Pick<UsageReport, 'rows'> & { readonly by: string }) =>
  csvOf([
    [by, ...(by === 'key' ? ['active'] : []), ...Object.values(COLUMNS)],
    ...rows.map(({ name, active, tokens, ...sums }) => {
      const counts = { ...sums, ...tokens };
      const fields = Object.keys(COLUMNS) as (keyof UsageCounts)[];
      return [...(by === 'key' ? [name, active] : [name]), ...fields.map((field) => counts[field])];
    }),
  ]);

/** A column of the table behind a plot. */
export interface PlotColumn {
  readonly label: string;
  /** The name in full, where the label is cut. */
  readonly name?: string;
  /** One for each of the plot's times; null: nobody knows. */
  readonly values: readonly (number | null)[];
}

export const nameIn = ({ label, name = label }: PlotColumn): string => name;

/** @param times in seconds since the epoch */
export const plotCsv = (title: string, times: readonly number[], columns: readonly PlotColumn[]) =>
  csvOf([
    [title.toLowerCase(), ...columns.map(nameIn)],
    ...times.map((time, at) => [
      new Date(time * 1000).toISOString(),
      ...columns.map(({ values }) => values[at] ?? null),
    ]),
  ]);

/** Rows as RFC 4180 wants them. */
export const csvOf = (rows: readonly Row[]): string =>
  rows.map((row) => `${row.map(cellOf).join()}\r\n`).join('');

/** RFC 4180 §2; and no spreadsheet takes a name for a formula (CWE-1236). */
function cellOf(value: Row[number]): string {
  const text = value === null ? '' : String(value);
  const harmless = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
