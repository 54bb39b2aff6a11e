/** The part of RESULTS.md that `npm run bench:rotation` writes, and `npm run bench` keeps. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const FILE = new URL('../RESULTS.md', import.meta.url);
const BEGIN = '<!-- what bench:rotation measured -->';
const END = '<!-- end of bench:rotation -->';

const results = () => (existsSync(FILE) ? readFileSync(FILE, 'utf8') : '');

/** @param {string} text @returns {{from: number, to: number} | undefined} */
function place(text) {
  const from = text.indexOf(BEGIN);
  const end = text.indexOf(END, from);
  return from < 0 || end < 0 ? undefined : { from, to: end + END.length };
}

/** The section as it stands, its marks included; '' where there is none. */
export function keptSection(text = results()) {
  const at = place(text);
  return at === undefined ? '' : text.slice(at.from, at.to);
}

/** @param {string} text @param {string} section */
export function withSection(text, section) {
  const marked = `${BEGIN}\n${section}\n${END}`;
  const at = place(text);
  if (at === undefined) return `${text.trimEnd()}\n\n${marked}\n`.trimStart();
  return text.slice(0, at.from) + marked + text.slice(at.to);
}

/** @param {string} section */
export const keepSection = (section) => writeFileSync(FILE, withSection(results(), section));
