import { createHash } from 'node:crypto';

/** A key that came into being in a run. */
export interface MadeKey {
  readonly key: string;
  /** Which test made it. */
  readonly test: string;
}

export const KINDS = ['log', 'metrics', 'error body', 'audit', 'keyring', 'usage'] as const;
export type Kind = (typeof KINDS)[number];

/** A text in which no key may stand. */
export interface Artefact {
  readonly kind: Kind;
  /** Which file, log or answer it is. */
  readonly name: string;
  /** Which test it comes from. */
  readonly test: string;
  readonly text: string;
}

export interface Find {
  readonly artefact: Artefact;
  /** From 1. */
  readonly line: number;
  /** What of the key stands there. */
  readonly form: string;
  readonly key: MadeKey;
}

interface Needle {
  readonly bytes: Buffer;
  readonly form: string;
  readonly key: MadeKey;
  readonly isDigest: boolean;
}

/** What is shorter would be found by chance. */
export const SHORTEST = 8;
const PIECE = 24;
const FILTER_BITS = 24;

/**
 * Every place where a key stands, whole or half, in one of its spellings, or as a digest. One pass
 * over each text, whose cost does not grow with the number of keys: the last eight bytes of each
 * needle are looked for, and the rest is compared where they stand. A shorter spelling is left out.
 */
export function findKeys(keys: readonly MadeKey[], artefacts: Iterable<Artefact>): Find[] {
  const index = indexOf(keys);
  const finds: Find[] = [];
  for (const artefact of artefacts) {
    const bytes = Buffer.from(artefact.text);
    for (const [end, needle] of needlesIn(bytes, index)) {
      const { form, key, isDigest } = needle;
      if (isDigest && artefact.kind === 'keyring') continue;
      const line = bytes.subarray(0, end).toString('latin1').split('\n').length;
      finds.push({ artefact, line, form, key });
    }
  }
  return finds;
}

/** Each needle that stands in a text, with where it ends. */
function* needlesIn(bytes: Buffer, { filter, byEnd }: Index): Generator<[number, Needle]> {
  let before = 0;
  let last = 0;
  for (let at = 0; at < bytes.length; at++) {
    before = (before << 8) | (last >>> 24);
    last = (last << 8) | (bytes[at] ?? 0);
    const hash = mix(before, last);
    const slot = hash >>> (32 - FILTER_BITS);
    if (((filter[slot >>> 3] ?? 0) & (1 << (slot & 7))) === 0) continue;
    for (const needle of byEnd.get(hash) ?? []) {
      const start = at + 1 - needle.bytes.length;
      if (bytes.subarray(start, at + 1).equals(needle.bytes)) yield [at, needle];
    }
  }
}

/** What `npm test` prints of one: never the key, nor the line that holds it. */
export const describeFind = ({ artefact, line, form, key }: Find): string =>
  `${artefact.name}, line ${line} (${artefact.kind} of ${artefact.test}): ` +
  `${form} that ${key.test} made`;

const mix = (before: number, last: number): number =>
  (Math.imul(before, 0x9e3779b1) ^ Math.imul(last ^ (last >>> 15), 0x85ebca6b)) >>> 0;

interface Index {
  /** A bit for each hash that `byEnd` has, so that almost every byte costs one look. */
  readonly filter: Uint8Array;
  readonly byEnd: ReadonlyMap<number, readonly Needle[]>;
}

function indexOf(keys: readonly MadeKey[]): Index {
  const filter = new Uint8Array(2 ** (FILTER_BITS - 3));
  const byEnd = new Map<number, Needle[]>();
  const made = new Map(keys.map((each) => [each.key, each]));
  for (const key of made.values()) {
    for (const needle of needlesOf(key)) {
      const { bytes } = needle;
      const hash = mix(bytes.readInt32BE(bytes.length - 8), bytes.readInt32BE(bytes.length - 4));
      const slot = hash >>> (32 - FILTER_BITS);
      filter[slot >>> 3] = (filter[slot >>> 3] ?? 0) | (1 << (slot & 7));
      const others = byEnd.get(hash);
      if (others === undefined) byEnd.set(hash, [needle]);
      else others.push(needle);
    }
  }
  return { filter, byEnd };
}

/** Each spelling of a key, and its digest in each of its own. */
function needlesOf(made: MadeKey): Needle[] {
  const { key } = made;
  const digest = createHash('sha256').update(key).digest();
  const forms: [text: string, form: string][] = [
    [key.slice(-PIECE), key.length > PIECE ? `the last ${PIECE} characters of a key` : 'a key'],
    [encodeURIComponent(key).slice(-PIECE), 'a key, URL-encoded'],
    [JSON.stringify(key).slice(1, -1).slice(-PIECE), 'a key as JSON'],
    [Buffer.from(key).toString('hex'), 'a key in hex'],
    ...[0, 1, 2].flatMap((offset) => base64Of(key, offset)),
  ];
  // The other half of one that was made; of one that somebody chose it may be an ordinary word.
  if (/^sk-[A-Za-z0-9]{48}$/.test(key)) forms.push([key.slice(3, 27), 'the first half of a key']);
  const digests: [text: string, form: string][] = [
    [digest.toString('hex'), 'the digest of a key in hex'],
    [digest.toString('base64url'), 'the digest of a key in base64url'],
    [digest.toString('base64').slice(0, -1), 'the digest of a key in base64'],
  ];
  const needles = (texts: typeof forms, isDigest: boolean): Needle[] =>
    texts
      .filter(([text], at) => texts.findIndex(([other]) => other === text) === at)
      .filter(([text]) => text.length >= SHORTEST)
      .map(([text, form]) => ({ bytes: Buffer.from(text), form, key: made, isDigest }));
  return [...needles(forms, false), ...needles(digests, true)];
}

/** What of base64 is the same whatever stands before and behind it, as in `Basic <user:key>`. */
function base64Of(key: string, offset: number): [text: string, form: string][] {
  const bytes = Buffer.from('\0'.repeat(offset) + key);
  const from = Math.ceil((offset * 8) / 6);
  const to = Math.floor((bytes.length * 8) / 6);
  return (['base64', 'base64url'] as const).map((encoding) => [
    bytes.toString(encoding).slice(from, to),
    `a key in ${encoding}`,
  ]);
}
