import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pathPatterns, rootPath } from '../../src/config/kinds.ts';
import { type Kind, readAs } from '../../src/config/units.ts';
import { createRouteTable } from '../../src/litellm/routes.ts';

/** The value, or the hint. */
const read = <T>(kind: Kind<T>, text: string): unknown => {
  const result = readAs(kind, text);
  return 'value' in result ? result.value : result;
};

describe('the root path', () => {
  it.each([
    ['', ''],
    ['/', ''],
    ['/llm', '/llm'],
    ['/llm/', '/llm'],
    ['/a/b-c', '/a/b-c'],
  ])('%j is %j', (text, value) => {
    expect(read(rootPath, text)).toBe(value);
  });

  it.each([
    ['llm', 'did you mean /llm?'],
    ['//llm', ''],
    ['/llm//', ''],
    ['/a/../b', ''],
    ['/a/.', ''],
    ['/a?b', ''],
    ['/a#b', ''],
    ['/a%2Fb', ''],
    ['/a\\b', ''],
    ['/a b', ''],
    ['/a/*', ''],
  ])('refuses %j', (text, hint) => {
    expect(read(rootPath, text)).toEqual({ hint });
  });
});

describe('patterns of paths', () => {
  it.each([
    ['', []],
    ['/a', ['/a']],
    ['/a/', ['/a']],
    ['/a/b:c/*, /', ['/a/b:c/*', '/']],
    ['/*', ['/*']],
    ['/v1beta/models/m:generateContent', ['/v1beta/models/m:generateContent']],
  ])('%j is %j', (text, value) => {
    expect(read(pathPatterns, text)).toEqual(value);
  });

  const star = 'only /* at the end stands for something else';
  it.each([
    ['a', 'it begins with a slash'],
    ['*', 'it begins with a slash'],
    ['/a*', star],
    ['/a/*/b', star],
    ['/a/**', star],
    ['/models/{model}', star],
    ['/a%2Fb', 'write it decoded: %2F as /, %3A as :'],
    ['/a//', ''],
    ['/a//*', ''],
    ['//', ''],
    ['/a/../b', ''],
    ['/./*', ''],
    ['/a?x=1', ''],
    ['/a\u0000', ''],
    ['/a,b', 'it begins with a slash'],
  ])('refuses %j', (text, hint) => {
    expect(read(pathPatterns, text)).toEqual({ hint });
  });

  it('are such that the table of routes takes whatever was taken here', () => {
    const letters = fc.constantFrom(...'/ab.*:%{}\\'.split(''));
    fc.assert(
      fc.property(fc.string({ unit: letters, maxLength: 8 }), (text) => {
        const paths = read(pathPatterns, text);
        if (!Array.isArray(paths)) return;
        const overrides = { inferencePaths: paths, denyPaths: paths, allowPaths: paths };
        expect(() => createRouteTable(overrides)).not.toThrow();
      }),
      { numRuns: 300 },
    );
  });
});
