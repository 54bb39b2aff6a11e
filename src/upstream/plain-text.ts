import { stripVTControlCharacters } from 'node:util';

// Invisible ones too: they hide from people what a line says, or turn it around.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Untrusted text as one printable line: no escape sequence, no control character is left. */
export const printable = (text: string): string =>
  stripVTControlCharacters(text).replaceAll('\t', ' ').replace(UNPRINTABLE, '');

/** At most so many characters, the last of them `…` where something was cut off. */
export function cut(text: string, longest: number): string {
  // A character takes up to two units of a string.
  if (text.length <= longest) return text;
  const characters = Array.from(text.slice(0, 2 * longest + 2));
  if (characters.length <= longest) return text;
  return `${characters.slice(0, longest - 1).join('')}…`;
}
