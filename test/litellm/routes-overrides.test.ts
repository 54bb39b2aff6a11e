import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRouteTable, ROUTE_GROUPS, type RouteOverrides } from '../../src/litellm/routes.ts';
import { ROWS } from '../../src/litellm/routes-table.ts';

const table = (overrides: Partial<RouteOverrides>) => {
  const none = { inferencePaths: [], denyPaths: [], allowPaths: [] };
  const classify = createRouteTable({ ...none, ...overrides });
  return (path: string, method = 'GET') => classify(method, path);
};

const DENIED = [
  '/prompts/test',
  '/guardrails/test_custom_code',
  '/mcp-rest/test/connection',
  '/mcp-rest/test/tools/list',
  '/mcp-rest/test',
  '/sso/debug/login',
  '/sso/debug/callback',
  '/utils/transform_request',
  '/moyai/connect/exchange',
];

describe('denied rows', () => {
  const classify = table({});

  it.each(DENIED)('%s is closed in every spelling', (path) => {
    const letters = fc.array(fc.boolean(), { minLength: path.length, maxLength: path.length });
    const end = fc.constantFrom('', '/', '/x', '/x/y/');
    fc.assert(
      fc.property(letters, end, (upper, rest) => {
        const cased = [...path].map((c, at) => (upper[at] ? c.toUpperCase() : c)).join('');
        const route = classify(cased + rest);
        return route.class === 'denied' && route.group === 'denied';
      }),
    );
  });

  it.each(['/prompts/tested', '/prompts/list', '/guardrails/list', '/sso/debugger', '/utils/x'])(
    '%s is none of them',
    (path) => {
      expect(classify(path).class).toBe('management');
    },
  );

  it('are all that the table says', () => {
    const rows = ROWS.filter((row) => row.class === 'denied').flatMap((row) => row.paths);
    expect(rows.every((row) => row.methods === undefined)).toBe(true);
    expect(rows.map((row) => row.path)).toEqual([
      '/prompts/test/*',
      '/guardrails/test_custom_code/*',
      '/mcp-rest/test/*',
      '/sso/debug/*',
      '/moyai/connect/exchange/*',
      '/utils/transform_request/*',
    ]);
  });
});

describe('denyPaths', () => {
  it('close a route of any class, in any case and with a slash at the end', () => {
    const classify = table({ denyPaths: ['/V1/files/*', '/v1/models', '/key/generate/'] });
    const closed = [
      '/v1/files',
      '/v1/Files/a/content',
      '/v1/models',
      '/v1/models/',
      '/KEY/generate',
    ];
    for (const path of closed) expect(classify(path).class).toBe('denied');
    for (const path of ['/v1/filesystem', '/v1/models/x', '/key/generate/x', '/v1/batches']) {
      expect(classify(path).class).not.toBe('denied');
    }
    expect(classify('/v1/files/f')).toMatchObject({ group: 'denied', template: '/V1/files/*' });
  });

  it('leave the health rows open, and close all else where told to', () => {
    const classify = table({ denyPaths: ['/*', '/health/*', '/health/liveness'] });
    for (const path of ['/health/liveliness', '/health/liveness', '/health/readiness']) {
      expect(classify(path).class).toBe('health');
    }
    for (const path of ['/', '/health', '/v1/chat/completions', '/x/y', '']) {
      expect(classify(path).class).toBe('denied');
    }
  });
});

describe('allowPaths', () => {
  it('lift a denied row to management, to the letter', () => {
    const classify = table({ allowPaths: ['/prompts/test', '/mcp-rest/test/*'] });
    for (const path of ['/prompts/test', '/prompts/test/', '/mcp-rest/test/tools/list']) {
      expect(classify(path).class).toBe('management');
    }
    for (const path of ['/Prompts/test', '/prompts/test/x', '/utils/transform_request']) {
      expect(classify(path).class).toBe('denied');
    }
  });

  it('lift nothing else', () => {
    const classify = table({ allowPaths: ['/key/generate', '/v1/models'] });
    expect(classify('/key/generate').class).toBe('management');
    expect(classify('/v1/models').class).toBe('inference');
  });
});

describe('inferencePaths', () => {
  const classify = table({ inferencePaths: ['/my/tool/*', '/v1/models/gpt-4o', '/gemini/*'] });

  it('name their own template where the table has none', () => {
    expect(classify('/my/tool/a/b')).toMatchObject({
      class: 'inference',
      group: 'other',
      template: '/my/tool/*',
    });
    expect(classify('/my/tool').class).toBe('inference');
    expect(classify('/my/toolbox').class).toBe('management');
    expect(classify('/MY/tool').class).toBe('management');
  });

  it('keep what else the table knows of a route', () => {
    const before = table({})('/gemini/v1beta/files');
    expect(classify('/gemini/v1beta/files')).toEqual({ ...before, class: 'inference' });
    expect(classify('/gemini/v1beta/files')).toBe(classify('/gemini/v1/other'));
    expect(Object.isFrozen(classify('/gemini/v1/other'))).toBe(true);
  });

  it('reach rows that stand in the table to the letter', () => {
    const opened = table({ inferencePaths: ['/settings', '/health/liveness'] });
    expect(opened('/settings')).toMatchObject({ class: 'inference', group: 'settings' });
    expect(opened('/health/liveness').class).toBe('health');
  });
});

describe('where several name one path', () => {
  const path = '/prompts/test';
  it.each([
    [{ denyPaths: [path], allowPaths: [path], inferencePaths: [path] }, 'denied'],
    [{ allowPaths: [path], inferencePaths: [path] }, 'inference'],
    [{ inferencePaths: [path] }, 'denied'],
    [{ allowPaths: [path] }, 'management'],
  ])('%o makes it %s', (overrides, expected) => {
    expect(table(overrides)(path).class).toBe(expected);
  });
});

describe('an override that is no path', () => {
  it.each(['', 'key', 'key/*', '*', '/a*', '/a/*/b', '/a//b', '//', '//*', '/a/**', '/a//*'])(
    '"%s" is refused',
    (entry) => {
      for (const list of ['inferencePaths', 'denyPaths', 'allowPaths'] as const) {
        expect(() => table({ [list]: [entry] })).toThrow(TypeError);
      }
    },
  );

  it('is all that is refused', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 4 }), fc.string(), (entries, path) => {
        const valid = entries.map((entry) => `/${entry.replace(/[*/]/g, '')}x`);
        const classify = table({ denyPaths: valid, inferencePaths: valid });
        return [path, ...valid].every((asked) => ROUTE_GROUPS.includes(classify(asked).group));
      }),
    );
  });
});
