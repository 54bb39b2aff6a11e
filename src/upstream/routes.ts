import type { Classify, Route } from './route.ts';
import { indexRoutes, lookUp } from './routes-index.ts';
import { ROWS, type Row } from './routes-table.ts';

/**
 * What an operator changes: decoded paths without the root path, each exact or with `/*` at its end
 * for itself and everything below. A slash at a path's end counts for nothing.
 */
export interface RouteOverrides {
  /** Here the scope `inference` is enough, as for a pass-through endpoint of the operator's own. */
  readonly inferencePaths: readonly string[];
  /** Closed to everybody, in any case of letters. Health rows stay open. */
  readonly denyPaths: readonly string[];
  /** Not closed by the built-in table: management like all that is not named. */
  readonly allowPaths: readonly string[];
}

/** An override, and what of one stands before `/*`. */
const PATH = /^\/$|^(?:\/[^/*]+)+\/?$/;
const PATH_OR_NONE = /^(?:\/[^/*]+)*$/;

const DENIED_GROUP = 'denied';
const PLAIN = { dialect: 'openai', mcp: false, keyInQuery: false, keyPlace: 'bearer' } as const;
const OTHER = routeOf({ class: 'management', group: 'other', ...PLAIN }, '/*');

/** Every `group` that a route can have: the closed set of a metric label. */
export const ROUTE_GROUPS: readonly string[] = [
  ...new Set([...ROWS.map((row) => row.group), OTHER.group]),
];

const HEALTH = ROWS.filter((row) => row.class === 'health').flatMap(routesOf);
const KNOWN = indexRoutes(
  ROWS.filter((row) => row.class !== 'health' && row.class !== 'denied').flatMap(routesOf),
);
const DENIED = ROWS.filter((row) => row.class === 'denied').flatMap((row) => row.paths.map(closed));

/**
 * Makes the classifier of LiteLLM's routes. What counts, first to last: health rows, denyPaths,
 * allowPaths, the denied rows of the table, inferencePaths, the rest of the table. What stands
 * nowhere is management.
 *
 * @throws TypeError on an override that is no such path: one that closes nothing must not go unseen
 */
export function createRouteTable(overrides: RouteOverrides): Classify {
  const denied = overrides.denyPaths.map(closed);
  const allowed = overrides.allowPaths.map(matcher);
  const inference = overrides.inferencePaths.map(opened);

  const decide = (path: string): Route => {
    const bare = withoutSlash(path);
    const folded = bare.toLowerCase();
    const byOperator = denied.find(({ matches }) => matches(folded));
    if (byOperator !== undefined) return byOperator.route;
    const byTable = DENIED.find(({ matches }) => matches(folded));
    if (byTable !== undefined && !allowed.some((matches) => matches(bare))) return byTable.route;
    const known = lookUp(KNOWN, bare) ?? OTHER;
    return inference.find(({ matches }) => matches(bare))?.instead(known) ?? known;
  };

  // What stands in the table to the letter is decided here, once.
  const common = new Map<string, Route>(HEALTH);
  for (const path of KNOWN.exact.keys()) common.set(path, decide(path));
  return (path) => common.get(path) ?? decide(path);
}

/** LiteLLM answers a slash at a path's end with a redirect to the path without it. */
function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function matcher(entry: string): (path: string) => boolean {
  const below = entry.endsWith('/*');
  const path = below ? entry.slice(0, -2) : withoutSlash(entry);
  if (!(below ? PATH_OR_NONE : PATH).test(below ? path : entry)) {
    throw new TypeError(`"${entry}" is no path: write /a/b, or /a/b/* for all below it too`);
  }
  const start = `${path}/`;
  return (other) => other === path || (below && other.startsWith(start));
}

interface Closed {
  matches(folded: string): boolean;
  readonly route: Route;
}

function closed(entry: string): Closed {
  const route = routeOf({ class: 'denied', group: DENIED_GROUP, ...PLAIN }, entry);
  return { matches: matcher(entry.toLowerCase()), route };
}

interface Opened {
  matches(path: string): boolean;
  /** The known route with the class changed, made once for each. */
  instead(known: Route): Route;
}

function opened(entry: string): Opened {
  const made = new Map<Route, Route>();
  const make = (known: Route): Route => {
    const template = known === OTHER ? entry : known.template;
    const route = Object.freeze<Route>({ ...known, class: 'inference', template });
    made.set(known, route);
    return route;
  };
  return { matches: matcher(entry), instead: (known) => made.get(known) ?? make(known) };
}

/** The paths of a row with the routes that requests share; a template shows no `:path`. */
function routesOf(row: Row): (readonly [string, Route])[] {
  return row.paths.map((path) => [path, routeOf(row, path.replace(':path}', '}'))] as const);
}

function routeOf(row: Omit<Row, 'source' | 'paths'>, template: string): Route {
  const { group, dialect, mcp, keyInQuery, keyPlace } = row;
  return Object.freeze({ group, class: row.class, dialect, template, mcp, keyInQuery, keyPlace });
}
