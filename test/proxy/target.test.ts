import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readTarget, type Target } from '../../src/proxy/target.ts';
import { isRefusal } from '../../src/refusal.ts';

/** The path, or the code of the refusal. */
const read = (target: string, rootPath = ''): string => {
  const result = readTarget(target, rootPath);
  return isRefusal(result) ? result.code : result.path;
};

const BAD = 'bad_target';

describe('a request target', () => {
  it.each([
    ['/', '/'],
    ['/v1/models', '/v1/models'],
    ['/v1/models/', '/v1/models/'],
    ['/v1/models?a=b&c=//../%2e%2e', '/v1/models'],
    ['/.well-known/x', '/.well-known/x'],
    ['/v1/files/a..b/...', '/v1/files/a..b/...'],
    [
      '/v1beta/models/meta%2Fllama-3:generateContent',
      '/v1beta/models/meta/llama-3:generateContent',
    ],
    ['/v1%2Fmodels', '/v1/models'],
    ['/v1/files/caf%C3%A9', '/v1/files/café'],
    ['/v1/files/100%25', '/v1/files/100%'],
    ['/v1/files/a%2520b', '/v1/files/a%20b'],
    ["/v1/files/(a)!*'$&+,=@", "/v1/files/(a)!*'$&+,=@"],
  ])('%s is read as %s', (target, path) => {
    expect(read(target)).toBe(path);
  });

  it.each([
    ['absolute form', 'http://litellm:4000/v1/models'],
    ['authority form', 'litellm:4000'],
    ['asterisk form', '*'],
    ['nothing', ''],
    ['a fragment', '/v1/models#x'],
    ['a fragment in the query', '/v1/models?a#x'],
    ['an empty segment', '/v1//models'],
    ['two slashes first', '//litellm/v1/models'],
    ['two slashes last', '/v1/models//'],
    ['an encoded empty segment', '/v1/%2Fmodels'],
    ["an object of a provider's storage", '/v1/files/s3://bucket/key'],
    ['the same, encoded', '/v1/files/s3:%2F%2Fbucket%2Fkey'],
    ['an encoded question mark', '/v1/files/a%3Fb'],
    ['an encoded fragment', '/v1/files/a%23b'],
    ['a dot segment', '/v1/./models'],
    ['two dots', '/v1/../key/generate'],
    ['two dots last', '/v1/..'],
    ['encoded dots', '/v1/%2e%2e/key/generate'],
    ['half encoded dots', '/v1/.%2E/key/generate'],
    ['dots behind an encoded slash', '/v1/x%2f..%2fkey'],
    ['a backslash', '/v1\\models'],
    ['an encoded backslash', '/v1/..%5ckey/generate'],
    ['parameters', '/v1/models;x=y'],
    ['encoded parameters', '/v1/models%3bx'],
    ['a control character', '/v1/models%00'],
    ['a line break', '/v1/models%0d%0ax: y'],
    ['a C1 control character', '/v1/models%C2%85'],
    ['a bare percent sign', '/v1/100%'],
    ['what is not UTF-8', '/v1/%c0%ae%c0%ae/key'],
    ['a slash encoded twice', '/prompts%252ftest'],
    ['dots encoded twice', '/v1/%252e%252e/key'],
    ['a backslash encoded twice', '/v1/%255c'],
    ['a percent sign encoded twice', '/v1/%252541'],
    ["a route's name encoded twice", '/%2570rompts/test'],
    ['the same in capitals', '/%254bey/generate'],
    ['a verb encoded twice', '/v1beta/models/g%253AgenerateContent'],
    ['a space', '/v1/a b'],
    ['a byte above ASCII', '/v1/caf\u00e9'],
    ['a byte above ASCII in the query', '/v1/models?caf\u00e9'],
    ['quotes', '/v1/"x"'],
    ['a caret', '/v1/^'],
  ])('%s is refused', (_, target) => {
    expect(read(target)).toBe(BAD);
  });

  it('keeps path and query byte for byte', () => {
    const target = readTarget('/v1beta/models/a%2Fb?x=%6b&&y=\\"', '') as Target;
    expect(target.rawPath).toBe('/v1beta/models/a%2Fb');
    expect(target.rawQuery).toBe('x=%6b&&y=\\"');
    expect((readTarget('/a?', '') as Target).rawQuery).toBe('');
    expect((readTarget('/a', '') as Target).rawQuery).toBeUndefined();
  });

  it.each([
    ['/llm/v1/models', '/v1/models'],
    ['/llm', '/'],
    ['/llm/', '/'],
    ['/%6clm/prompts/test', '/prompts/test'],
    ['/llmx/v1/models', '/llmx/v1/models'],
    ['/v1/models', '/v1/models'],
    ['/llm/llm/v1', '/llm/v1'],
  ])('under the root path /llm, %s is %s', (target, path) => {
    expect(read(target, '/llm')).toBe(path);
  });
});

/** Paths made of what matters to a parser, so that most of them are near the edge. */
const pieces = fc.constantFrom(
  ...[
    '/',
    '/',
    'a',
    'v1',
    '.',
    '..',
    '%2e',
    '%2F',
    '%5c',
    '\\',
    ';',
    '%3B',
    '%3F',
    '%23',
    '%00',
    '%25',
    '%',
    '41',
  ],
  ...[
    '%C3%A9',
    '%C2%80',
    ':',
    '@',
    '~',
    '-',
    '_',
    ' ',
    '#',
    '?',
    '&',
    '=',
    '%61',
    '%2541',
    '"',
    'é',
  ],
);
const targets = fc.array(pieces, { maxLength: 10 }).map((parts) => `/${parts.join('')}`);

describe('whatever target is accepted', () => {
  it('has no dot or empty segment, no backslash, no control character', () => {
    fc.assert(
      fc.property(fc.oneof(targets, fc.string()), (target) => {
        const path = read(target);
        if (path === BAD) return;
        const segments = path.split('/').slice(1);
        expect(segments.slice(0, -1)).not.toContain('');
        expect(segments).not.toContain('.');
        expect(segments).not.toContain('..');
        expect(path).not.toMatch(/[\p{Cc}\\;?#]/u);
        expect(path.startsWith('/')).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('hides no separator and no letter from whoever decodes it again', () => {
    fc.assert(
      fc.property(targets, (target) => {
        const path = read(target);
        for (const [, hex = ''] of path.matchAll(/%([0-9a-f]{2})/gi)) {
          const hidden = String.fromCharCode(Number.parseInt(hex, 16));
          expect(hidden).not.toMatch(/[\w.~/\\:;?#%-]|^[^\P{Cc}\x80-\x9f]$/u);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('is the decoded form of the bytes that are sent on', () => {
    fc.assert(
      fc.property(targets, (target) => {
        const result = readTarget(target, '');
        if (isRefusal(result)) return;
        const query = result.rawQuery === undefined ? '' : `?${result.rawQuery}`;
        expect(result.rawPath + query).toBe(target);
        expect(decodeURIComponent(result.rawPath)).toBe(result.path);
      }),
      { numRuns: 1000 },
    );
  });

  it('stays what it is when it is read again, encoded or not', () => {
    const harmless = fc.stringMatching(/^(?:\/[a-z0-9.:@~_%-]{1,5}){1,4}\/?$/);
    fc.assert(
      fc.property(fc.oneof(targets, harmless), (target) => {
        const path = read(target);
        if (path === BAD) return;
        expect(read(path.split('/').map(encodeURIComponent).join('/'))).toBe(path);
      }),
      { numRuns: 1000 },
    );
  });

  it('is the same by the short way as by the long one', () => {
    const plain = fc.stringMatching(/^(?:\/[A-Za-z0-9_~.:@-]{0,4}){1,4}\/?$/);
    fc.assert(
      fc.property(plain, fc.nat(), (target, at) => {
        // One character encoded: the same path, which can no longer take the short way.
        const letters = [...target.matchAll(/[A-Za-z0-9_~:@-]/g)];
        const found = letters[at % Math.max(1, letters.length)];
        if (found === undefined) return;
        const hex = found[0].charCodeAt(0).toString(16);
        const encoded = `${target.slice(0, found.index)}%${hex}${target.slice(found.index + 1)}`;
        expect(read(encoded)).toBe(read(target));
      }),
      { numRuns: 1000 },
    );
  });

  it('loses its root path at most once', () => {
    fc.assert(
      fc.property(targets, (target) => {
        const [under, bare] = [read(`/llm${target}`, '/llm'), read(target)];
        expect(under).toBe(bare);
      }),
    );
  });
});
