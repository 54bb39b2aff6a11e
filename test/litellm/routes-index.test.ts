import { describe, expect, it } from 'vitest';
import { indexRoutes, lookUp } from '../../src/litellm/routes.ts';
import type { Route } from '../../src/litellm/routes-table.ts';

const routeOf = (template: string): Route => ({
  group: 'other',
  class: 'management',
  dialect: 'openai',
  template,
  mcp: false,
  keyInQuery: false,
  keyPlace: 'bearer',
  saysUsage: 'never',
  modelPlace: 'unknown',
  modelPath: undefined,
});

const finder = (...patterns: string[]) => {
  const rows = patterns.map((pattern) => {
    const [path = '', methods] = pattern.split(' ').reverse();
    return [{ path, methods: methods?.split(',') }, routeOf(pattern)] as const;
  });
  const index = indexRoutes(rows);
  return (path: string, method = 'GET') => lookUp(index, method, path)?.template;
};

describe('lookUp', () => {
  it('lets the first of two patterns win, and all of them over what is below', () => {
    const find = finder('/a/*', '/a/{x:path}/end', '/a/{x}', '/a/{y}/end', '/a/is');
    expect(find('/a/is')).toBe('/a/is');
    expect(find('/a/b')).toBe('/a/{x}');
    expect(find('/a/b/end')).toBe('/a/{x:path}/end');
    expect(find('/a/b/c/end')).toBe('/a/{x:path}/end');
    expect(find('/a/b/c')).toBe('/a/*');
    expect(find('/a')).toBe('/a/*');
    expect(find('/ab')).toBeUndefined();
  });

  it('ends a literal where its segment ends, at any depth', () => {
    const find = finder('/a/b/c/*', '/a/b/d/{x}');
    expect(find('/a/b/c')).toBe('/a/b/c/*');
    expect(find('/a/b/c/d/e')).toBe('/a/b/c/*');
    expect(find('/a/b/cd')).toBeUndefined();
    expect(find('/a/b/d/e')).toBe('/a/b/d/{x}');
    expect(find('/a/b/d/e/f')).toBeUndefined();
  });

  it('takes what is special to a regular expression as it stands', () => {
    const find = finder('/a.b/{x}/c+d(e)', '/a.b/{x}:go');
    expect(find('/a.b/1/c+d(e)')).toBe('/a.b/{x}/c+d(e)');
    expect(find('/a.b/1/ccde')).toBeUndefined();
    expect(find('/axb/1:go')).toBeUndefined();
    expect(find('/a.b/1:go')).toBe('/a.b/{x}:go');
    expect(find('/a.b/:go')).toBeUndefined();
  });

  it('knows an open first segment where there are exactly two', () => {
    const find = finder('/{server}/mcp', '/a/*');
    expect(find('/a/mcp')).toBe('/{server}/mcp');
    expect(find('/b/mcp')).toBe('/{server}/mcp');
    expect(find('/a/b/mcp')).toBe('/a/*');
    expect(find('/b/c/mcp')).toBeUndefined();
    expect(find('/mcp')).toBeUndefined();
  });

  it('takes the first that has the method, then what is below, then nothing', () => {
    const find = finder('/a/*', 'GET /a/b', 'POST,WS /a/b', 'PUT /a/{x}', 'GET /a/{y}', 'PUT /c');
    const found = ['GET', 'WS', 'PUT', 'PATCH'].map((method) => find('/a/b', method));
    expect(found).toEqual(['GET /a/b', 'POST,WS /a/b', 'PUT /a/{x}', '/a/*']);
    expect(find('/a/c')).toBe('GET /a/{y}');
    expect(find('/c')).toBeUndefined();
    expect(find('/c', 'PUT')).toBe('PUT /c');
    expect(find('/c/', 'PUT')).toBeUndefined();
  });

  it('finds nothing in what is no path', () => {
    const find = finder('/{server}/mcp', '/a/*', '/a/{x}');
    for (const path of ['', '/', '//', 'a', 'a/b', '//mcp/', '\u0000']) {
      expect(find(path)).toBeUndefined();
    }
  });
});

describe('indexRoutes', () => {
  it.each(['/a/{x:path}/{y:path}', '/{x}/b/c', '/{x}'])('refuses %s', (pattern) => {
    expect(() => finder(pattern)).toThrow(pattern);
  });
});
