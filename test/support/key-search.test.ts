import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type Artefact, describeFind, findKeys, KINDS, type Kind } from './key-search.ts';

/** Not made by `generateKey`: the run itself must not find it. */
const KEY = `sk-${'Planted4ByTheTestOfTheSearch'.repeat(2).slice(0, 48)}`;
const made = { key: KEY, test: 'test/a.test.ts' };
const digest = createHash('sha256').update(KEY).digest();

const artefact = (text: string, kind: Kind = 'log'): Artefact => ({
  kind,
  name: 'stderr',
  test: 'test/b.test.ts',
  text,
});

const formsIn = (text: string, kind?: Kind): string[] =>
  findKeys([made], [artefact(text, kind)]).map(({ form }) => form);

describe('a key is found', () => {
  it.each<[string, string]>([
    ['at the beginning', KEY],
    ['in the middle', `{"msg":"so","key":"${KEY}","b":1}`],
    ['by its last 24 characters', `…${KEY.slice(-24)}`],
    ['by its first half', `${KEY.slice(0, 27)}…`],
    ['in hex', Buffer.from(KEY).toString('hex')],
    ['behind what is not ASCII', `ä€😀${KEY}`],
    ['as its digest in hex', digest.toString('hex')],
    ['as its digest in base64url', digest.toString('base64url')],
    ['as its digest in base64', `sha256-${digest.toString('base64')}`],
  ])('%s', (_where, text) => {
    expect(formsIn(text)).not.toEqual([]);
    expect(formsIn(text.replaceAll('4', 'x'))).toEqual([]);
  });

  it.each(['', 'x', 'me', 'u:'])('in base64 behind %j, whatever follows', (before) => {
    for (const encoding of ['base64', 'base64url'] as const) {
      for (const after of ['', ' ', '@host']) {
        const text = Buffer.from(before + KEY + after).toString(encoding);
        expect(formsIn(`Basic ${text}`)).not.toEqual([]);
      }
    }
  });

  it('in both alphabets of base64', () => {
    const odd = { key: 'sk-~~~???>>>~~~???>>>', test: 'test/a.test.ts' };
    const texts = (['base64', 'base64url'] as const).map((each) =>
      Buffer.from(odd.key).toString(each),
    );
    expect(new Set(texts).size).toBe(2);
    for (const text of texts) expect(findKeys([odd], [artefact(text)])).not.toEqual([]);
  });

  it('though another one ends as it does', () => {
    const twins = ['one', 'two'].map((name) => ({ key: `sk-${name}-the-same-end`, test: name }));
    for (const twin of twins) {
      expect(findKeys(twins, [artefact(twin.key)]).map(({ key }) => key)).toEqual([twin]);
    }
  });

  it.each(KINDS)('in any %s', (kind) => {
    expect(formsIn(KEY, kind)).not.toEqual([]);
  });

  it('though it has characters that are escaped', () => {
    const odd = { key: 'a "quoted" word', test: 'test/a.test.ts' };
    for (const text of [JSON.stringify(odd.key), encodeURIComponent(odd.key), odd.key]) {
      expect(findKeys([odd], [artefact(text)])).toHaveLength(1);
    }
  });

  it('among thousands, each time and in each text', () => {
    const others = Array.from({ length: 5000 }, (_, at) => ({
      key: `sk-other-${createHash('sha256').update(`${at}`).digest('hex')}`,
      test: 'test/c.test.ts',
    }));
    const noise = others.map(({ key }) => key.slice(0, -1)).join('\n');
    const texts = [noise, `${noise}\n${KEY}\n${KEY.slice(-24)}`, `x${KEY}`].map((t) => artefact(t));
    const finds = findKeys([...others, made], texts);
    const ends = finds.filter(({ form }) => form.startsWith('the last'));
    expect(
      ends.map(({ artefact: { text }, line }) => [texts.findIndex((t) => t.text === text), line]),
    ).toEqual([
      [1, 5001],
      [1, 5002],
      [2, 1],
    ]);
    expect(new Set(finds.map(({ key }) => key))).toEqual(new Set([made]));
  });
});

describe('nothing is found', () => {
  it.each(['', 'short', KEY.slice(0, 26), KEY.slice(-23), `${KEY.slice(1, -1)}`.slice(3, 26)])(
    'in %j',
    (text) => {
      expect(formsIn(text)).toEqual([]);
    },
  );

  it('where the keyring keeps a digest, and nowhere else', () => {
    const text = digest.toString('base64url');
    const kinds = KINDS.filter((kind) => formsIn(text, kind).length === 0);
    expect(kinds).toEqual(['keyring']);
  });

  it('of a word too short to be told from others', () => {
    expect(findKeys([{ key: 'sk-1234', test: '' }], [artefact('sk-1234')])).toEqual([]);
  });
});

it('is told with its place and its maker, and without the key', () => {
  const [find] = findKeys([made], [artefact(`one\ntwo ${KEY.slice(-24)}`)]);
  expect(find && describeFind(find)).toBe(
    'stderr, line 2 (log of test/b.test.ts): the last 24 characters of a key that test/a.test.ts made',
  );
});
