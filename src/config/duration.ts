import { got, type Kind, type Reading, reading, wrong } from './kind.ts';

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof UNITS;

/** What a timer of Node's can hold; a longer one fires at once. */
const LONGEST = 2 ** 31 - 1;

/** Milliseconds of `500ms`, `30s`, `5m`, `24h`, `7d` or `0`. At most 2^31 - 1. */
export function readDuration(text: string): Reading<number> {
  if (text === '0') return got(0);
  const match = /^(\d{1,10})(ms|s|m|h|d)$/.exec(text);
  if (match === null) return wrong(durationHint(text));
  const milliseconds = Number(match[1]) * UNITS[match[2] as Unit];
  return milliseconds <= LONGEST ? got(milliseconds) : wrong('that is more than 24d');
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
