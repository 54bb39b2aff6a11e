// Times, spans and counts as this page writes them. Pure: what time it is and where are arguments.

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];

const two = (number: number): string => String(number).padStart(2, '0');

/** `2026-11-24 14:03:11 UTC` */
export const inUtc = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;

/** `2026-11-24 14:03:11` where this browser is. */
export function inLocalTime(iso: string): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return 'at an unknown time';
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join('-');
  return `${day} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':')}`;
}

/** Milliseconds, rounded down to one unit: `4 s`, `90 min`, `23 h`, `30 d`. */
export function spanWords(ms: number): string {
  if (ms < 2 * MINUTE) return `${Math.floor(Math.max(0, ms) / SECOND)} s`;
  if (ms < 2 * HOUR) return `${Math.floor(ms / MINUTE)} min`;
  return ms < 2 * DAY ? `${Math.floor(ms / HOUR)} h` : `${Math.floor(ms / DAY)} d`;
}

/** `4 s ago`, `in 23 h`: where an instant is, seen from another. Milliseconds since the epoch. */
export function distanceWords(at: number, now: number): string {
  const left = at - now;
  if (left <= 0) return `${spanWords(-left)} ago`;
  const unit = left < 2 * MINUTE ? SECOND : left < 2 * HOUR ? MINUTE : left < 2 * DAY ? HOUR : DAY;
  return `in ${spanWords(left + unit / 2)}`;
}

/** `1 request`, `2,000 requests`. */
export const countWords = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;

/** The longest text of a stranger that is shown; an agent may have 8 KB. */
const LONGEST = 160;

/**
 * A stranger's text on one line: what is invisible or turns text around is shown as `�`, so that
 * two agents that look alike are alike.
 */
export function plainText(text: string, longest = LONGEST): string {
  const flat = text
    .replace(/\s+/g, ' ')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '�')
    .trim();
  const characters = Array.from(flat.slice(0, 2 * longest + 2));
  return characters.length > longest ? `${characters.slice(0, longest - 1).join('')}…` : flat;
}

/** Characters of a label beside a plot. */
const LONGEST_LABEL = 40;

/** A stranger's name beside a plot. Two models often differ at their ends: the middle is cut. */
export function labelOf(name: string): string {
  const characters = Array.from(plainText(name, 1000));
  if (characters.length <= LONGEST_LABEL) return characters.join('');
  const half = LONGEST_LABEL / 2;
  return `${characters.slice(0, half - 1).join('')}…${characters.slice(-half).join('')}`;
}
