/** The parts of RESULTS.md that have a command of their own; every other one keeps them. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const FILE = new URL('./RESULTS.md', import.meta.url);

const results = () => (existsSync(FILE) ? readFileSync(FILE, 'utf8') : '');

/** @param {string} command the script of package.json, which its marks name */
function createSection(command) {
  const begin = `<!-- what ${command} measured -->`;
  const end = `<!-- end of ${command} -->`;

  /** @param {string} text @returns {{from: number, to: number} | undefined} */
  const place = (text) => {
    const from = text.indexOf(begin);
    const last = text.indexOf(end, from);
    return from < 0 || last < 0 ? undefined : { from, to: last + end.length };
  };

  /** @param {string} text @param {string} section */
  const within = (text, section) => {
    const marked = `${begin}\n${section}\n${end}`;
    const at = place(text);
    if (at === undefined) return `${text.trimEnd()}\n\n${marked}\n`.trimStart();
    return text.slice(0, at.from) + marked + text.slice(at.to);
  };

  return {
    /** As it stands, its marks included; '' where there is none. */
    kept(text = results()) {
      const at = place(text);
      return at === undefined ? '' : text.slice(at.from, at.to);
    },
    within,
    /** Puts it in the place of the one before, or at the end. @param {string} section */
    keep: (section) => writeFileSync(FILE, within(results(), section)),
  };
}

export const ROTATION = createSection('bench:rotation');
export const HANDOVER = createSection('bench:handover');

/** In the order in which they stand. */
export const SECTIONS = [ROTATION, HANDOVER];
