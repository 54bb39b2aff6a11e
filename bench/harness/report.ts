/** Figures as Markdown: what the terminal shows, and what a bench's section of RESULTS.md keeps. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeMachine } from './machine.ts';
import { ROOT } from './processes.ts';

/** A value such that this share (0 to 1) of the others is below it; between two, their mean. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low === undefined || high === undefined ? Number.NaN : low + (high - low) * (at % 1);
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);
export const least = (values: readonly number[]): number => quantile(values, 0);
export const most = (values: readonly number[]): number => quantile(values, 1);

/** In the unit of the values. */
export const summary = (values: readonly number[]) => ({
  ...{ count: values.length, p50: median(values) },
  ...{ p99: quantile(values, 0.99), slowest: most(values) },
});

/** A number with so many digits after the point and commas between thousands; `–` for none. */
export const figure = (value: number | undefined, digits = 0): string =>
  value === undefined || Number.isNaN(value)
    ? '–'
    : value.toLocaleString('en-GB', {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      });

/** The least, and the two values between which the middle half lies. */
export const spread = (values: readonly number[], digits: number): readonly [string, string] => {
  const [low, high] = [quantile(values, 0.25), quantile(values, 0.75)];
  return [figure(least(values), digits), `${figure(low, digits)}–${figure(high, digits)}`];
};

/** Columns of one width; all but the first to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((text, at) =>
    Math.max(3, text.length, ...rows.map((row) => row[at]?.length ?? 0)),
  );
  const pad = (cell: string, at: number) =>
    at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0);
  const line = (cells: readonly string[]) => `| ${cells.map(pad).join(' | ')} |`;
  const rule = widths.map(
    (width, at) => '-'.repeat(at === 0 ? width : width - 1) + (at ? ':' : ''),
  );
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/** Of each unit that a target may have, the digits after the point; `''`: it is a count. */
const DIGITS = { '': 0, '×': 2, '%': 1, KB: 1, MB: 1, ms: 1, ns: 0 } as const;
type Unit = keyof typeof DIGITS;

export interface Target {
  readonly what: string;
  readonly sense: 'at least' | 'at most';
  readonly limit: number;
  readonly unit: Unit;
  /** undefined or NaN: not measured, so not judged. */
  readonly value: number | undefined;
}

/** A target as its row shows it: what, how much, and what was measured. */
const targets =
  (sense: Target['sense']) =>
  (what: string, limit: number, unit: Unit, value: number | undefined): Target => ({
    ...{ what, sense, limit, unit, value },
  });

export const atMost = targets('at most');
export const atLeast = targets('at least');
export const none = (what: string, count: number): Target => atMost(what, 0, '', count);

const isMet = ({ sense, limit, value = Number.NaN }: Target) =>
  sense === 'at least' ? value >= limit : value <= limit;

const isMeasured = ({ value }: Target) => value !== undefined && !Number.isNaN(value);

export const missed = (targets: readonly Target[]): number =>
  targets.filter((target) => isMeasured(target) && !isMet(target)).length;

/** Targets that were measured, and by how much those are missed that are. */
export function targetsTable(targets: readonly Target[]): string {
  const rows = targets.filter(isMeasured).map((target) => {
    const { what, sense, limit, unit, value = Number.NaN } = target;
    const by = Math.round(Math.abs(value / limit - 1) * 100);
    const verdict = isMet(target) ? 'met' : limit === 0 ? 'missed' : `missed by ${by} %`;
    const measured = `${figure(value, DIGITS[unit])} ${unit}`.trim();
    return [what, `${sense} ${limit} ${unit}`.trim(), measured, verdict];
  });
  return table(['what', 'target', 'measured', ''], rows);
}

/** When and where something was measured; `seconds` is how long that took. */
export const runLine = (options: { node: string; seconds: number }): string =>
  `${new Date().toISOString().slice(0, 10)}, ${describeMachine()}, Node ${options.node}; ` +
  `the run took ${Math.round(options.seconds)} s.`;

/**
 * Puts a section into bench/RESULTS.md, in the place of the one of that name, or at the end. All
 * others stay as they are.
 */
export function writeSection(name: string, text: string): void {
  const file = join(ROOT, 'bench', 'RESULTS.md');
  const results = readFileSync(file, 'utf8');
  const [begin, end] = [`<!-- what ${name} measured -->`, `<!-- end of ${name} -->`];
  const section = `${begin}\n${text.trim()}\n${end}`;
  const [from, to] = [results.indexOf(begin), results.indexOf(end)];
  const whole =
    from < 0 || to < from
      ? `${results.trimEnd()}\n\n${section}\n`
      : results.slice(0, from) + section + results.slice(to + end.length);
  writeFileSync(file, whole);
}
