import type { Route } from './route.ts';

/** Routes in the three shapes in which they are looked up, so that no request walks the table. */
export interface RouteIndex {
  readonly exact: ReadonlyMap<string, Route>;
  /** `/{server}/mcp`: by what follows the first of exactly two segments. */
  readonly second: ReadonlyMap<string, Route>;
  /** By the one or two literal segments that a pattern begins with. */
  readonly patterns: ReadonlyMap<string, readonly Pattern[]>;
}

interface Pattern {
  readonly regex: RegExp;
  readonly route: Route;
}

const PARAMETER = /\{\w+(?::path)?\}/g;
const OPEN_FIRST = /^\/\{\w+\}(\/[^/{}*]+)$/;

/**
 * Sorts patterns into an index. Of two in one bucket the first wins, but `/x/*` yields to all.
 *
 * @param routes pattern and route; the notation is that of the route table
 */
export function indexRoutes(routes: readonly (readonly [string, Route])[]): RouteIndex {
  const exact = new Map<string, Route>();
  const second = new Map<string, Route>();
  const patterns = new Map<string, Pattern[]>();
  const open = routes.filter(([path]) => !path.endsWith('/*'));
  const below = routes.filter(([path]) => path.endsWith('/*'));
  for (const [path, route] of [...open, ...below]) {
    const ofTwo = OPEN_FIRST.exec(path)?.[1];
    if (ofTwo !== undefined) second.set(ofTwo, route);
    else if (!/[{*]/.test(path)) exact.set(path, route);
    else {
      const bucket = literalStart(path);
      const list = patterns.get(bucket) ?? [];
      patterns.set(bucket, [...list, { regex: compile(path), route }]);
    }
  }
  return { exact, second, patterns };
}

/** The route of a path without a slash at its end; undefined: no row has it. */
export function lookUp(index: RouteIndex, path: string): Route | undefined {
  const exact = index.exact.get(path);
  if (exact !== undefined) return exact;
  const first = path.indexOf('/', 1);
  if (first < 0) return matchIn(index.patterns.get(path), path);
  const next = path.indexOf('/', first + 1);
  const ofTwo = next < 0 ? index.second.get(path.slice(first)) : undefined;
  return (
    ofTwo ??
    matchIn(index.patterns.get(next < 0 ? path : path.slice(0, next)), path) ??
    matchIn(index.patterns.get(path.slice(0, first)), path)
  );
}

function matchIn(bucket: readonly Pattern[] | undefined, path: string): Route | undefined {
  if (bucket === undefined) return undefined;
  for (const { regex, route } of bucket) if (regex.test(path)) return route;
  return undefined;
}

/** `/v1/files` of `/v1/files/{file:path}/content`: at most two segments. */
function literalStart(path: string): string {
  const segments = path.split('/').slice(1);
  const open = segments.findIndex((segment) => /[{*]/.test(segment));
  if (open === 0) throw new Error(`the route ${path} begins with no literal segment`);
  return `/${segments.slice(0, Math.min(open, 2)).join('/')}`;
}

/** At most one `{name:path}` to a pattern, so that a match takes time linear in the path. */
function compile(path: string): RegExp {
  if (path.split(':path}').length > 2) throw new Error(`the route ${path} has two open ends`);
  const below = path.endsWith('/*');
  const source = (below ? path.slice(0, -2) : path)
    .replace(/[.+?()[\]^$|\\]/g, '\\$&')
    .replace(PARAMETER, (name) => (name.endsWith(':path}') ? '[^]+' : '[^/]+'));
  return new RegExp(`^${source}${below ? '(?:/[^]*)?' : ''}$`);
}
