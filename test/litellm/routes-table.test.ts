import { describe, expect, it } from 'vitest';
import { createRouteTable, ROUTE_GROUPS } from '../../src/litellm/routes.ts';
import { ROWS, readRows } from '../../src/litellm/routes-table.ts';
import { pathsOf } from './litellm-routes.ts';

const classify = createRouteTable({ inferencePaths: [], denyPaths: [], allowPaths: [] });
const one = (path: string): string => [...pathsOf(path, ['x1'])][0] ?? '';

describe('the table', () => {
  it('gives every row a source and a path, and no path twice', () => {
    const paths = ROWS.flatMap((row) => row.paths);
    expect(ROWS.every((row) => row.source !== '' && row.paths.length > 0)).toBe(true);
    expect(paths.filter((path, at) => paths.indexOf(path) !== at)).toEqual([]);
    expect(paths.every((path) => path.startsWith('/'))).toBe(true);
  });

  it('finds each row by a path of its own', () => {
    for (const row of ROWS) {
      for (const path of row.paths) {
        const route = classify(one(path.replace('/*', '/x1')));
        expect({ path, class: route.class }).toEqual({ path, class: row.class });
        expect(route.template).toBe(path.replace(':path}', '}'));
      }
    }
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
