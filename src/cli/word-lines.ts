import { oneLine } from '../text/safe.ts';
import { paint, type Style, type Terminal } from './terminal.ts';

/** `store: ok`: a word that says what it is about, and what there is to say. */
export interface Line {
  readonly word: string;
  readonly style: Style;
  /** Whatever it holds stays on its line. */
  readonly text: string;
  /** Lines to go below it, as they are but for their indentation. */
  readonly below?: readonly string[];
}

/** For stdout; each ends with a line feed. */
export const renderLines = (terminal: Terminal, lines: readonly Line[]): string =>
  lines
    .map(({ word, style, text, below = [] }) => {
      const painted = paint(terminal, terminal.stdout, style, word.trim());
      const first = `${word.replace(/\S.*/, '')}${painted}: ${oneLine(text)}\n`;
      return first + below.map((line) => `    ${line}\n`).join('');
    })
    .join('');

interface Advice {
  readonly warnings: readonly { readonly message: string; readonly hint: string }[];
  readonly next: readonly string[];
}

export const warningLines = ({ warnings }: Advice): readonly Line[] =>
  warnings.flatMap(({ message, hint }): Line[] => [
    { word: 'warning', style: 'yellow', text: message },
    { word: '  hint', style: 'cyan', text: hint },
  ]);

export const nextLines = ({ next }: Advice): readonly Line[] =>
  next.map((text) => ({ word: 'next', style: 'cyan', text }));
