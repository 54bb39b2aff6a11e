import { describe, expect, it } from 'vitest';
import { createRouteTable, ROUTE_GROUPS } from '../../src/litellm/routes.ts';
import { ROWS, readRows } from '../../src/litellm/routes-table.ts';
import { pathsOf } from './litellm-routes.ts';

const classify = createRouteTable({ inferencePaths: [], denyPaths: [], allowPaths: [] });
const one = (path: string): string => [...pathsOf(path, ['x1'])][0] ?? '';

describe('the table', () => {
  it('gives every row a source and a path, and no path twice', () => {
    const paths = ROWS.flatMap((row) =>
      row.paths.flatMap(({ path, methods }) => (methods ?? ['']).map((m) => `${m}${path}`)),
    );
    expect(ROWS.every((row) => row.source !== '' && row.paths.length > 0)).toBe(true);
    expect(paths.filter((path, at) => paths.indexOf(path) !== at)).toEqual([]);
  });

  it('finds each row by a path of its own', () => {
    for (const row of ROWS) {
      for (const { path, methods } of row.paths) {
        const route = classify(methods?.[0] ?? 'GET', one(path.replace('/*', '/x1')));
        expect({ path, class: route.class }).toEqual({ path, class: row.class });
        expect(route.template).toBe(path.replace(':path}', '}'));
      }
    }
  });

  it('names the methods of whatever is for models, but for what is mounted as a whole', () => {
    const every = ROWS.filter((row) => row.class === 'inference')
      .flatMap((row) => row.paths)
      .filter(({ methods }) => methods === undefined);
    expect(every.map(({ path }) => path)).toEqual(['/mcp/*']);
  });

  it.each(['POST', 'POST,GETS /b', 'get /b', 'POST /b c'])('is not read with "%s"', (line) => {
    expect(() => readRows(`inference chat # x\n  ${line}`)).toThrow(`at "  ${line}"`);
  });

  it.each(['inferance chat # x', 'inference chat mpc # x', 'inference chat', 'chat # x'])(
    'is not read with the heading "%s"',
    (heading) => {
      expect(() => readRows(`${heading}\n  /b`)).toThrow(`at "${heading}"`);
    },
  );

  it('has few groups, each a label that a metric can carry', () => {
    expect(new Set(ROUTE_GROUPS).size).toBe(ROUTE_GROUPS.length);
    expect(ROUTE_GROUPS.length).toBeLessThanOrEqual(45);
    expect(ROUTE_GROUPS).toContain('other');
    for (const group of ROUTE_GROUPS) expect(group).toMatch(/^[a-z][a-z0-9_]*$/);
  });
});
