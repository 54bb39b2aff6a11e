import { got, type Kind, type Reading, reading, wrong } from './kind.ts';

/** IEC 80000-13: KiB is 1024, KB (and the kB of SI) is 1000. From large to small. */
const UNITS: readonly (readonly [string, number])[] = [
  ['TiB', 1024 ** 4],
  ['TB', 1000 ** 4],
  ['GiB', 1024 ** 3],
  ['GB', 1000 ** 3],
  ['MiB', 1024 ** 2],
  ['MB', 1000 ** 2],
  ['KiB', 1024],
  ['KB', 1000],
  ['kB', 1000],
  ['B', 1],
];

/** Bytes of `512KiB`, `1MiB`, `10MB`, `100B` or `0`. At most 2^53 - 1. */
export function readSize(text: string): Reading<number> {
  if (text === '0') return got(0);
  const match = /^(\d{1,16})([A-Za-z]{1,3})$/.exec(text);
  const unit = UNITS.find(([name]) => name === match?.[2]);
  if (match === null || unit === undefined) return wrong(sizeHint(text));
  const bytes = Number(match[1]) * unit[1];
  return Number.isSafeInteger(bytes) ? got(bytes) : wrong('that is more than can be counted');
}

function sizeHint(text: string): string {
  if (/^\d{1,16}$/.test(text)) return `did you mean ${showSize(Number(text))}?`;
  const match = /^(\d{1,16}) *([kmgt])(i?)b?$/i.exec(text);
  if (match !== null) return `did you mean ${match[1]}${match[2]?.toUpperCase()}iB?`;
  return /^\d+[.,]\d+/.test(text) ? 'whole numbers only: 1536KiB rather than 1.5MiB' : '';
}

/** Bytes in the largest unit of 1024 that holds them whole, else of 1000, else in bytes. */
export function showSize(bytes: number): string {
  if (bytes === 0) return '0';
  const whole = UNITS.filter(([, each]) => bytes % each === 0);
  const [unit, size] = whole.find(([name]) => name.includes('i')) ?? whole[0] ?? ['B', 1];
  return `${bytes / size}${unit}`;
}

/** A setting in bytes. */
export const size: Kind<number> = {
  schema: reading(readSize),
  allowed: 'a size with its unit, such as 100B, 512KiB, 1MiB or 10MB, or 0',
  show: showSize,
};
