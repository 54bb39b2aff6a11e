import { got, type Kind, type Reading, reading, wrong } from './kind.ts';

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof UNITS;

/** What a timer of Node's can hold; a longer one fires at once. */
const LONGEST = 2 ** 31 - 1;

/** Ten years: what is longer is a slip, and dates beyond it are nobody's plan. */
const LONGEST_SPAN = 3650 * UNITS.d;

/** Milliseconds of `500ms`, `30s`, `5m`, `24h`, `7d` or `0`. At most 2^31 - 1. */
export const readDuration = (text: string): Reading<number> => readUpTo(text, LONGEST, '24d');

/** The same for what no single timer waits for, a grace or an interval: at most 3650d. */
export const readSpan = (text: string): Reading<number> => readUpTo(text, LONGEST_SPAN, '3650d');

function readUpTo(text: string, longest: number, shown: string): Reading<number> {
  if (text === '0') return got(0);
  const match = /^(\d{1,10})(ms|s|m|h|d)$/.exec(text);
  if (match === null) return wrong(durationHint(text));
  const milliseconds = Number(match[1]) * UNITS[match[2] as Unit];
  return milliseconds <= longest ? got(milliseconds) : wrong(`that is more than ${shown}`);
}

function durationHint(text: string): string {
  if (/^\d{1,10}$/.test(text)) return `did you mean ${text}s?`;
  const match = /^(\d{1,10}) *(ms|s|m|h|d)[a-z]*$/i.exec(text);
  if (match !== null) return `did you mean ${match[1]}${match[2]?.toLowerCase()}?`;
  return /^\d+[.,]\d+/.test(text) ? 'whole numbers only: 1500ms rather than 1.5s' : '';
}

/** Milliseconds in the largest unit that holds them whole. */
export function showDuration(milliseconds: number): string {
  if (milliseconds === 0) return '0';
  const units = Object.entries(UNITS).reverse();
  const [unit, size] = units.find(([, each]) => milliseconds % each === 0) ?? ['ms', 1];
  return `${milliseconds / size}${unit}`;
}

/** A setting in milliseconds. */
export const duration: Kind<number> = {
  schema: reading(readDuration),
  allowed: 'a duration with its unit, such as 500ms, 30s, 5m, 24h or 7d, or 0; at most 24d',
  show: showDuration,
};

export interface SpanBounds {
  /** The shortest, in milliseconds. */
  readonly least: number;
  /** What to tell who writes 0; undefined: 0 may be written, and means "none". */
  readonly zero?: string;
}

/** A setting in milliseconds that no single timer waits for. */
export const span = ({ least, zero }: SpanBounds): Kind<number> => ({
  schema: reading((text) => {
    const result = readSpan(text);
    if ('hint' in result) return result;
    if (result.value === 0) return zero === undefined ? result : wrong(zero);
    return result.value < least ? wrong(`that is less than ${showDuration(least)}`) : result;
  }),
  allowed:
    `a duration with its unit, such as 90s, 24h or 30d, from ${showDuration(least)} to 3650d` +
    (zero === undefined ? ', or 0' : ''),
  show: showDuration,
});
