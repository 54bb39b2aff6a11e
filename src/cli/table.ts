import { oneLine } from '../text/safe.ts';
import { isLive, type Output, paint, type Style, type Terminal } from './terminal.ts';

/** A text, or one in a style. Control characters in it do not reach the terminal. */
export type Cell = string | { readonly text: string; readonly style: Style };

/** The last column is broken first, down to this; then the others give way. */
const NARROW = 24;

/**
 * Rows in columns, the titles above them, broken between words where that fits a terminal's width.
 * Where its longest words do not fit beside each other, each cell has a line of its own, and where
 * nobody looks a row is a line. Ends with a line feed.
 */
export async function renderColumns(
  terminal: Terminal,
  output: Output,
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
): Promise<string> {
  const texts = [head, ...rows.map((row) => row.map(textOf))];
  const room = isLive(terminal, output) ? output.columns : undefined;
  const widths = fittingWidths(texts, room);
  if (widths === undefined) return stacked(terminal, output, head, rows);
  const show = (cell: Cell, at: number): string =>
    brokenAt(widths[at] ?? Infinity, textOf(cell))
      .map((line) => (typeof cell === 'string' ? line : paint(terminal, output, cell.style, line)))
      .join('\n');
  return await alignColumns(
    head.map((text) => ({ text, style: 'bold' }) as const).map(show),
    rows.map((row) => row.map(show)),
  );
}

const GAP = 2;

/** A row as a block of lines: its first cell, and below it each of the others behind its title. */
function stacked(
  terminal: Terminal,
  output: Output,
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
): string {
  const lineOf = (cell: Cell, at: number): readonly string[] => {
    if (textOf(cell) === '') return [];
    const text =
      typeof cell === 'string' ? textOf(cell) : paint(terminal, output, cell.style, textOf(cell));
    return at === 0 ? [text] : [`  ${head[at] ?? ''}: ${text}`];
  };
  return rows.map((row) => `${row.flatMap(lineOf).join('\n')}\n`).join('');
}

/** How wide each column may be; no word is broken. Undefined: the longest words do not fit. */
function fittingWidths(
  texts: readonly (readonly string[])[],
  width = Infinity,
): readonly number[] | undefined {
  const columns = (texts[0] ?? []).map((_, at) => texts.map((row) => row[at] ?? ''));
  const longest = (lines: readonly string[]): number =>
    Math.max(0, ...lines.map((line) => line.length));
  const widths = columns.map(longest);
  const least = columns.map((cells) => longest(cells.flatMap((cell) => cell.split(' '))));
  const last = widths.length - 1;
  const excess = (): number =>
    widths.reduce((sum, each) => sum + each + GAP, -GAP) - Math.min(width, Number.MAX_SAFE_INTEGER);
  const shrink = (at: number, to: number): void => {
    widths[at] = Math.max(to, Math.min(widths[at] ?? 0, (widths[at] ?? 0) - excess()));
  };
  shrink(last, Math.min(widths[last] ?? 0, Math.max(NARROW, least[last] ?? 0)));
  while (excess() > 0) {
    const spare = widths.map((each, at) => (at < last && each > (least[at] ?? 0) ? each : 0));
    const widest = spare.indexOf(Math.max(...spare));
    if ((spare[widest] ?? 0) === 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  shrink(last, Math.min(widths[last] ?? 0, least[last] ?? 0));
  return excess() > 0 ? undefined : widths;
}

const NO_BORDER = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '', mid: '', 'left-mid': '' },
  ...{ 'mid-mid': '', 'right-mid': '', bottom: '', 'bottom-mid': '', 'bottom-left': '' },
  ...{ 'bottom-right': '', left: '', right: '', middle: '  ' },
};

/** Texts in columns, as they are, with their line breaks and colours. Ends with a line feed. */
export async function alignColumns(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): Promise<string> {
  // Loaded where a table is drawn: `sidecar --help` loads this file.
  const { default: Table } = await import('cli-table3');
  const table = new Table({
    head: [...head],
    chars: NO_BORDER,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
  });
  table.push(...rows.map((row) => [...row]));
  return `${table.toString().replaceAll(/ +$/gm, '')}\n`;
}

const textOf = (cell: Cell): string => oneLine(typeof cell === 'string' ? cell : cell.text);

/** Lines of at most so many characters, broken between words. */
function brokenAt(columns: number, text: string): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar for a share from 0 to 1, so many columns long where the share is 1. */
export function barOf(share: number, columns: number): string {
  const eighths = Math.round(share * columns * 8);
  return '█'.repeat(eighths >> 3) + (EIGHTHS[eighths & 7] ?? '');
}

/** `store: ok`: the name of a thing, and what there is to say of that thing. */
export interface LabelledLine {
  /** Spaces before the label indent the line. */
  readonly label: string;
  /** The label's own style. */
  readonly style: Style;
  /** Shown on one line, whatever it holds. */
  readonly text: string;
  /** Lines to go below it, indented and otherwise as they are. */
  readonly below?: readonly string[];
}

/** For stdout; each ends with a line feed. */
export const renderLines = (terminal: Terminal, lines: readonly LabelledLine[]): string =>
  lines
    .map(({ label, style, text, below = [] }) => {
      const painted = paint(terminal, terminal.stdout, style, label.trim());
      const first = `${label.replace(/\S.*/, '')}${painted}: ${oneLine(text)}\n`;
      return first + below.map((line) => `    ${line}\n`).join('');
    })
    .join('');

/** What the sidecar advises an operator to do; both status views hold it. */
interface Advice {
  readonly warnings: readonly { readonly message: string; readonly hint: string }[];
  readonly next: readonly string[];
}

export const warningLines = ({ warnings }: Advice): readonly LabelledLine[] =>
  warnings.flatMap(({ message, hint }): LabelledLine[] => [
    { label: 'warning', style: 'yellow', text: message },
    { label: '  hint', style: 'cyan', text: hint },
  ]);

export const nextLines = ({ next }: Advice): readonly LabelledLine[] =>
  next.map((text) => ({ label: 'next', style: 'cyan', text }));
