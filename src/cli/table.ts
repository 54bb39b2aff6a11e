import { oneLine } from '../text/safe.ts';
import { hasColours, type Output, paint, type Style, type Terminal } from './terminal.ts';

/** A text, or one in a style. Control characters in it do not reach the terminal. */
export type Cell = string | { readonly text: string; readonly style: Style };

/** The last column is never narrower than this, however narrow the terminal is. */
const NARROWEST = 24;

/**
 * Rows in columns, the titles above them; the last column is broken between words to fit a
 * terminal's width, and elsewhere a row is a line. Ends with a line feed.
 */
export async function renderColumns(
  terminal: Terminal,
  output: Output,
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
): Promise<string> {
  const width = roomForLast(head, rows, hasColours(terminal, output) ? output.columns : undefined);
  const show = (cell: Cell, isLast: boolean): string =>
    brokenAt(isLast ? width : Infinity, textOf(cell))
      .map((line) => (typeof cell === 'string' ? line : paint(terminal, output, cell.style, line)))
      .join('\n');
  return await alignColumns(
    head.map((title) => paint(terminal, output, 'bold', title)),
    rows.map((row) => row.map((cell, at) => show(cell, at === row.length - 1))),
  );
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

function roomForLast(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  width = Infinity,
): number {
  const widths = head
    .slice(0, -1)
    .map((title, at) => Math.max(title.length, ...rows.map((row) => textOf(row[at] ?? '').length)));
  return Math.max(NARROWEST, width - widths.reduce((sum, each) => sum + each + 2, 0));
}

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
