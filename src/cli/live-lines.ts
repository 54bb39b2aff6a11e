import { stripVTControlCharacters } from 'node:util';
import { isLive, type Output, type Terminal } from './terminal.ts';

/** Lines that change in place, at the bottom of a terminal. */
export interface LiveLines {
  /** Puts these lines in the place of those before; longer ones are cut. */
  draw(lines: readonly string[]): void;
  /** Takes them away. */
  clear(): void;
}

/** Undefined where nobody is there to see movement. */
export function createLiveLines(terminal: Terminal, output: Output): LiveLines | undefined {
  if (!isLive(terminal, output)) return undefined;
  let drawn = 0;
  // ECMA-48: cursor up to the first line, then erase from there to the end of the screen.
  const back = (): string => (drawn === 0 ? '' : `\u001b[${drawn}A\r\u001b[J`);
  return {
    draw(lines) {
      // A line that wraps would be two, and the way back too short.
      const cut = lines.map((line) => cutTo(output.columns ?? 80, line));
      output.write(`${back()}${cut.map((line) => `${line}\n`).join('')}`);
      drawn = cut.length;
    },
    clear() {
      output.write(back());
      drawn = 0;
    },
  };
}

function cutTo(columns: number, line: string): string {
  const plain = stripVTControlCharacters(line);
  return plain.length < columns ? line : `${plain.slice(0, columns - 2)}…`;
}
