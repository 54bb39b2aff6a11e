import { USAGE_COLUMNS, USAGE_FIELDS } from '../src/store/usage-columns.ts';
import type { UsageReport } from '../src/usage/report.ts';

type Row = readonly (string | number | boolean | null)[];

/** The rows of a usage report, byte by byte as `sidecar usage --csv` writes them. */
export const usageCsv = ({ by, rows }: Pick<UsageReport, 'rows'> & { readonly by: string }) =>
  csvOf([
    [by, ...(by === 'key' ? ['active'] : []), ...Object.values(USAGE_COLUMNS)],
    ...rows.map(({ name, active, tokens, ...sums }) => {
      const counts = { ...sums, ...tokens };
      return [
        ...(by === 'key' ? [name, active] : [name]),
        ...USAGE_FIELDS.map((field) => counts[field]),
      ];
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
