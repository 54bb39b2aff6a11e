import { fileNameOf } from './setting.ts';
import { SETTINGS } from './settings.ts';
import type { Source } from './sources.ts';

/** Something in the configuration that cannot stand. Holds no secret's value. */
export interface Mistake {
  /** Of the variable, or `.env`. */
  readonly name: string;
  /** What stands there, as it is shown to people: quoted, shortened, secrets left out. */
  readonly found: string;
  readonly allowed: string;
  readonly hint?: string;
}

/** Takes whatever may be secret out of a text. */
export type Mask = (text: string) => string;

/** Shorter ones are words that stand in other texts by chance, and guard nothing. */
const SHORTEST_SECRET = 6;

/** A mask for the secrets of these sources, wherever else their values were put by mistake. */
export function createMask(sources: readonly Source[]): Mask {
  const names = Object.values(SETTINGS).flatMap((setting) =>
    fileNameOf(setting) === undefined ? [] : [setting.name],
  );
  const secrets = sources
    .flatMap(({ values }) => names.map((name) => values[name]?.trim() ?? ''))
    .filter((value) => value.length >= SHORTEST_SECRET)
    .sort((a, b) => b.length - a.length);
  return (text) => {
    let masked = text;
    for (const secret of secrets) masked = masked.replaceAll(secret, '…');
    // What looks like a key, and what stands before an @: a URL's user and password.
    masked = masked.replaceAll(/(?<![a-z0-9])sk-[^\s,'"]+/gi, 'sk-…');
    return masked.replace(/^([a-z]+:\/\/)?.*@/is, '$1…@');
  };
}

/** A value as a mistake shows it: in quotes, on one line, to 80 characters. */
export function quote(text: string, mask: Mask): string {
  const masked = mask(text);
  return JSON.stringify(masked.length > 80 ? `${masked.slice(0, 79)}…` : masked);
}

/** All mistakes as people read them, on stderr: a block each. Ends with a newline. */
export function formatMistakes(mistakes: readonly Mistake[]): string {
  const count = mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`;
  const blocks = mistakes.map(({ name, found, allowed, hint }) => {
    const lines = [name, `  found    ${found}`, `  allowed  ${allowed}`];
    return (hint === undefined ? lines : [...lines, `  hint     ${hint}`]).join('\n');
  });
  return `${[`the configuration has ${count}`, ...blocks].join('\n\n')}\n`;
}
