import { parse } from 'dotenv';
import type { Mistake } from './mistakes.ts';
import { KNOWN_NAMES } from './names.ts';
import { readText } from './read-text.ts';
import { DOTENV, type Source } from './sources.ts';

/** What a `.env` holds, and what dotenv would pass over in silence. */
export interface DotenvFile {
  readonly source: Source;
  readonly mistakes: readonly Mistake[];
  readonly warnings: readonly string[];
}

/** Reads a `.env`; one that is not there is an empty one. Never throws. */
export function readDotenv(path: string): DotenvFile {
  const file = readText(path);
  if ('text' in file) return parseDotenv(file.text);
  const source: Source = { name: DOTENV, values: {} };
  if (file.missing) return { source, mistakes: [], warnings: [] };
  const mistake: Mistake = {
    name: DOTENV,
    found: `${path}: ${file.fault}`,
    allowed: 'a text file in UTF-8, or nothing at all',
    ...(file.fault.includes('folder')
      ? { hint: 'docker makes a folder where a file that it shall mount is missing: remove it' }
      : {}),
  };
  return { source, mistakes: [mistake], warnings: [] };
}

/** Pure: the text of a `.env`. */
export function parseDotenv(text: string): DotenvFile {
  const values = parse(text);
  const names = linesOf(text);
  const lost = names.filter(({ name }) => !Object.hasOwn(values, name));
  return {
    source: { name: DOTENV, values },
    mistakes: lost.map(({ name, line }) => ({
      name,
      found: `line ${line} of ${DOTENV}, which sets nothing`,
      allowed: `${name}=value`,
    })),
    warnings: names
      .filter(({ rest }) => CUT.test(rest))
      .map(
        ({ name }) => `${name} in ${DOTENV} ends before a #: put the value in quotes to keep it`,
      ),
  };
}

/** An unquoted value that runs into a `#`: dotenv takes what follows for a comment. */
const CUT = /^\s*=\s*[^\s'"`#][^#]*(?<!\s)#/;

/** The lines that begin with a name of ours. */
function linesOf(text: string): { name: string; line: number; rest: string }[] {
  return text.split(/\r\n?|\n/).flatMap((content, index) => {
    const match = /^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)(.*)$/.exec(content);
    const [, name = '', rest = ''] = match ?? [];
    return KNOWN_NAMES.includes(name) ? [{ name, line: index + 1, rest }] : [];
  });
}
