/** How a setting's text becomes its value, and back. `read(show(value))` is the value again. */
export interface Kind<T> {
  /** Of trimmed text; '' is "not set". */
  readonly read: (text: string) => Reading<T>;
  /** What may be written, as a phrase. */
  readonly allowed: string;
  /** The value is never shown, and may also come from the file that `NAME_FILE` names. */
  readonly secret?: true;
  /** The setting is easily taken for the place of a secret, so a wrong value is not shown. */
  readonly hidden?: true;
  show(value: T): string;
}

/** A value, or a hint for the operator: '' where the kind's `allowed` says it all. */
export type Reading<T> = { readonly value: T } | { readonly hint: string };

export const got = <T>(value: T): Reading<T> => ({ value });
export const wrong = (hint = ''): Reading<never> => ({ hint });

/** The kind of a setting that may be left out. */
export const optional = <T>(kind: Kind<T>): Kind<T | undefined> => ({
  ...kind,
  read: (text) => (text === '' ? got(undefined) : kind.read(text)),
  show: (value) => (value === undefined ? '' : kind.show(value)),
});

/**
 * Several values, with commas between them. Commas alone are a mistake: a list that is empty may
 * mean "everybody".
 */
export const listOf = <T>(
  kind: Pick<Kind<T>, 'read' | 'show'>,
  allowed: string,
): Kind<readonly T[]> => ({
  allowed,
  read(text) {
    const places = splitList(text);
    if (places.length > 0 || text === '') return readEach(places, kind.read);
    return wrong('there is nothing between the commas');
  },
  show: (values) => values.map(kind.show).join(','),
});

/** The value of each text, or the hint of the first that has none. */
export function readEach<T>(texts: readonly string[], read: Kind<T>['read']): Reading<T[]> {
  const values: T[] = [];
  for (const text of texts) {
    const reading = read(text);
    if ('hint' in reading) return reading;
    values.push(reading.value);
  }
  return got(values);
}

/** The places of a comma list that hold something. */
export const splitList = (text: string): string[] =>
  text
    .split(',')
    .map((place) => place.trim())
    .filter((place) => place !== '');

const DURATION_UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type DurationUnit = keyof typeof DURATION_UNITS;

/** The longest wait of a timer of Node, which fires at once where it is given a longer one. */
const LONGEST_DURATION = 2 ** 31 - 1;

/** Ten years: a longer grace or interval is a slip of the hand, and nobody's plan. */
const LONGEST_SPAN = 3650 * DURATION_UNITS.d;

/** Milliseconds of `500ms`, `30s`, `5m`, `24h`, `7d` or `0`. At most 2^31 - 1. */
export const readDuration = (text: string): Reading<number> =>
  readUpTo(text, LONGEST_DURATION, '24d');

/** A duration that no single timer waits for, a grace or an interval: at most 3650d. */
export const readSpan = (text: string): Reading<number> => readUpTo(text, LONGEST_SPAN, '3650d');

function readUpTo(text: string, longest: number, shown: string): Reading<number> {
  if (text === '0') return got(0);
  const match = /^(\d{1,10})(ms|s|m|h|d)$/.exec(text);
  if (match === null) return wrong(durationHint(text));
  const milliseconds = Number(match[1]) * DURATION_UNITS[match[2] as DurationUnit];
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
  const units = Object.entries(DURATION_UNITS).reverse();
  const [unit, size] = units.find(([, each]) => milliseconds % each === 0) ?? ['ms', 1];
  return `${milliseconds / size}${unit}`;
}

/** A setting in milliseconds. */
export const duration: Kind<number> = {
  read: readDuration,
  allowed: 'a duration with its unit, such as 500ms, 30s, 5m, 24h or 7d, or 0; at most 24d',
  show: showDuration,
};

interface SpanBounds {
  /** The shortest, in milliseconds. */
  readonly least: number;
  /** What to tell who writes 0; undefined: 0 may be written, and means "none". */
  readonly zero?: string;
}

/** A setting in milliseconds that no single timer waits for. */
export const span = ({ least, zero }: SpanBounds): Kind<number> => ({
  read(text) {
    const result = readSpan(text);
    if ('hint' in result) return result;
    if (result.value === 0) return zero === undefined ? result : wrong(zero);
    return result.value < least ? wrong(`that is less than ${showDuration(least)}`) : result;
  },
  allowed:
    `a duration with its unit, such as 90s, 24h or 30d, from ${showDuration(least)} to 3650d` +
    (zero === undefined ? ', or 0' : ''),
  show: showDuration,
});

/** What a millionth has behind the point: a share is written with no more. */
const MILLION = 1_000_000;

function readShare(text: string): Reading<number> {
  const match = /^(\d{1,3}(?:\.\d{1,6})?)(%?)$/.exec(text);
  if (match === null) return wrong();
  const number = Number(match[1]) / (match[2] === '%' ? 100 : 1);
  if (number <= 1) return got(Math.round(number * MILLION) / MILLION);
  return wrong(match[2] === '' && number <= 100 ? `did you mean ${text}%?` : '');
}

/** A part of a whole, from 0 to 1. */
export const share: Kind<number> = {
  read: readShare,
  allowed: 'a number from 0 to 1, or from 0% to 100%',
  show: String,
};

/** An instant in milliseconds since the epoch as ISO 8601 in UTC; null where there is none. */
export const isoOrNull = (at: number | undefined): string | null =>
  at === undefined ? null : new Date(at).toISOString();

/** IEC 80000-13: KiB is 1024, KB (and the kB of SI) is 1000. From large to small. */
const SIZE_UNITS: readonly (readonly [string, number])[] = [
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
function readSize(text: string): Reading<number> {
  if (text === '0') return got(0);
  const match = /^(\d{1,16})([A-Za-z]{1,3})$/.exec(text);
  const unit = SIZE_UNITS.find(([name]) => name === match?.[2]);
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
  const whole = SIZE_UNITS.filter(([, each]) => bytes % each === 0);
  const [unit, size] = whole.find(([name]) => name.includes('i')) ?? whole[0] ?? ['B', 1];
  return `${bytes / size}${unit}`;
}

/** A setting in bytes. */
export const size: Kind<number> = {
  read: readSize,
  allowed: 'a size with its unit, such as 100B, 512KiB, 1MiB or 10MB, or 0',
  show: showSize,
};

/** SI, as tokens are counted. */
const MULTIPLES = { '': 0, k: 3, K: 3, M: 6, G: 9 } as const;

/** The number that digits behind the point and a multiple make; undefined: it is no such number. */
function readMultiple(text: string, mostPlaces: number): number | undefined {
  const match = /^(\d{1,16})(?:\.(\d{1,12}))?([kKMG]?)$/.exec(text);
  if (match === null) return undefined;
  const [, whole = '', fraction = '', multiple = ''] = match;
  const power = MULTIPLES[multiple as keyof typeof MULTIPLES];
  const digits = fraction.replace(/0+$/, '');
  if (digits.length > power + mostPlaces) return undefined;
  // By its decimal digits, so that 1.1M is 1,100,000 and nothing beside it.
  return Number(`${whole}.${digits || '0'}e${power}`);
}

const MOST_USD = 1e9;
const NOTHING = '0 lets nobody in: leave it out for no limit, or disable the client';

/** How many of something, above 0: `60`, `1.5k`, `2M` or `1G`. At most 2^53 - 1. */
export function readCount(text: string): Reading<number> {
  const count = readMultiple(text, 0);
  if (count === undefined) return wrong(amountHint(text, readCount));
  if (count === 0) return wrong(NOTHING);
  return Number.isSafeInteger(count) ? got(count) : wrong('that is more than can be counted');
}

/** US dollars, above 0: `5`, `0.50`, `1.5k`. To a millionth, as prices of tokens are. */
export function readUsd(text: string): Reading<number> {
  const usd = readMultiple(text, 6);
  if (usd === undefined) return wrong(amountHint(text, readUsd));
  if (usd === 0) return wrong(NOTHING);
  return usd <= MOST_USD ? got(usd) : wrong('that is more than a billion');
}

/** What was meant: the text without what does not belong in it, where that can be read. */
function amountHint(text: string, read: Kind<number>['read']): string {
  if (/^[-\u2212]\s*\d/.test(text)) return 'above 0: leave it out for no limit';
  const plain = text
    .replace(/[$_\s]|usd$|(?:tokens|requests|rpm)$|\/(?:min|minute|day|d|m)$/gi, '')
    .replace(/^(\d+),(\d{1,2})$/, '$1.$2')
    .replace(/,(?=\d{3}(?:\D|$))/g, '')
    .replace(/(?<=\d)m$/, 'M')
    .replace(/(?<=\d)(?:bn?)$/i, 'G');
  return plain !== text && 'value' in read(plain) ? `did you mean ${plain}?` : '';
}

/** A number of requests or tokens. */
export const amount: Kind<number> = {
  read: readCount,
  allowed: 'a whole number above 0, such as 60, 1.5k or 2M',
  show: String,
};

/** An amount of money. */
export const dollars: Kind<number> = {
  read: readUsd,
  allowed: 'US dollars above 0, such as 5 or 0.50',
  show: String,
};
