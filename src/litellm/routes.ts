import {
  type Classify,
  ROWS,
  type Route,
  type RouteClass,
  type Row,
  type RowPath,
  type SaysUsage,
} from './routes-table.ts';

/** Routes in the three shapes in which they are looked up, so that no request walks the table. */
interface RouteIndex {
  readonly exact: ReadonlyMap<string, readonly Candidate[]>;
  /** `/{server}/mcp`: by what follows the first of exactly two segments. */
  readonly second: ReadonlyMap<string, Candidate>;
  /** By the one or two literal segments that a pattern begins with. */
  readonly patterns: ReadonlyMap<string, readonly Pattern[]>;
}

interface Candidate {
  /** Undefined: every method. */
  readonly methods: readonly string[] | undefined;
  readonly route: Route;
}

interface Pattern extends Candidate {
  readonly regex: RegExp;
}

const PARAMETER = /\{\w+(?::path)?\}/g;
const OPEN_FIRST = /^\/\{\w+\}(\/[^/{}*]+)$/;

/**
 * Sorts patterns into an index. Of two in one bucket the first that has the method wins, but `/x/*`
 * yields to all.
 *
 * @param routes pattern and route; the notation is that of the route table
 */
export function indexRoutes(routes: readonly (readonly [RowPath, Route])[]): RouteIndex {
  const exact = new Map<string, Candidate[]>();
  const second = new Map<string, Candidate>();
  const patterns = new Map<string, Pattern[]>();
  const open = routes.filter(([{ path }]) => !path.endsWith('/*'));
  const below = routes.filter(([{ path }]) => path.endsWith('/*'));
  for (const [{ path, methods }, route] of [...open, ...below]) {
    const ofTwo = OPEN_FIRST.exec(path)?.[1];
    if (ofTwo !== undefined) second.set(ofTwo, { methods, route });
    else if (!/[{*]/.test(path)) exact.set(path, [...(exact.get(path) ?? []), { methods, route }]);
    else {
      const bucket = literalStart(path);
      const list = patterns.get(bucket) ?? [];
      patterns.set(bucket, [...list, { regex: compile(path), methods, route }]);
    }
  }
  return { exact, second, patterns };
}

/** The route of a method and a path, to the letter; undefined: no row has it. */
export function lookUp(index: RouteIndex, method: string, path: string): Route | undefined {
  const exact = index.exact.get(path)?.find((candidate) => takes(candidate, method));
  if (exact !== undefined) return exact.route;
  const first = path.indexOf('/', 1);
  if (first < 0) return matchIn(index.patterns.get(path), method, path);
  const next = path.indexOf('/', first + 1);
  const ofTwo = next < 0 ? index.second.get(path.slice(first)) : undefined;
  if (ofTwo !== undefined && takes(ofTwo, method)) return ofTwo.route;
  return (
    matchIn(index.patterns.get(next < 0 ? path : path.slice(0, next)), method, path) ??
    matchIn(index.patterns.get(path.slice(0, first)), method, path)
  );
}

const takes = ({ methods }: Candidate, method: string): boolean =>
  methods === undefined || methods.includes(method);

function matchIn(
  bucket: readonly Pattern[] | undefined,
  method: string,
  path: string,
): Route | undefined {
  if (bucket === undefined) return undefined;
  for (const pattern of bucket) {
    if (takes(pattern, method) && pattern.regex.test(path)) return pattern.route;
  }
  return undefined;
}

/** The literal segments that a path begins with, at most two: `/v1/files` of `/v1/files/{file}`. */
function literalStart(path: string): string {
  const segments = path.split('/').slice(1);
  const open = segments.findIndex((segment) => /[{*]/.test(segment));
  if (open === 0) throw new Error(`the route ${path} begins with no literal segment`);
  return `/${segments.slice(0, Math.min(open, 2)).join('/')}`;
}

/**
 * As Starlette compiles it: `{name:path}` may be empty, so that `/v1/batches/` names a batch. A
 * pattern has at most one of these, so that a match takes time linear in the path.
 */
function compile(path: string): RegExp {
  return new RegExp(`^${sourceOf(path)}$`);
}

function sourceOf(path: string): string {
  if (path.split(':path}').length > 2) throw new Error(`the route ${path} has two open ends`);
  const below = path.endsWith('/*');
  const source = (below ? path.slice(0, -2) : path)
    .replace(/[.+?()[\]^$|\\]/g, '\\$&')
    .replace(PARAMETER, (name) => (name.endsWith(':path}') ? '[^]*' : '[^/]+'));
  return `${source}${below ? '(?:/[^]*)?' : ''}`;
}

/**
 * What an operator changes in the route table. Each path is decoded and without the root path; with
 * `/*` at its end it stands for itself and everything below. A slash at its end counts for nothing.
 */
export interface RouteOverrides {
  /** The scope `inference` is enough for them, as for a pass-through endpoint of the operator's. */
  readonly inferencePaths: readonly string[];
  /** They are closed to everybody, in any case of letters; health routes stay open. */
  readonly denyPaths: readonly string[];
  /** The built-in table does not close them: they are management, as whatever it does not name. */
  readonly allowPaths: readonly string[];
}

/** An override, and the part of one before its `/*`. */
const PATH = /^\/$|^(?:\/[^/*]+)+\/?$/;
const PATH_OR_NONE = /^(?:\/[^/*]+)*$/;

/** Groups whose answers say a usage whatever the model. */
const SAY_USAGE: ReadonlySet<string> = new Set([
  ...['chat', 'completions', 'embeddings', 'responses', 'messages', 'generate_content'],
]);
/**
 * Groups whose answers may: LiteLLM prices all of them. What agents and tools answer is their own,
 * whatever it looks like.
 */
const MAY_SAY_USAGE: ReadonlySet<string> = new Set([
  ...['interactions', 'realtime', 'images', 'videos', 'audio', 'moderations', 'rerank', 'ocr'],
  ...['decisions', 'search'],
]);
/** Groups that have models work later, or elsewhere; of the assistants' those that run one. */
const USES_UNSAID: ReadonlySet<string> = new Set(['batches', 'fine_tuning', 'a2a']);
const RUNS = /\/runs$/;
/** They count what a request would use, or end one. */
const USES_NOTHING = /(?:count_tokens|:countTokens|\/input_tokens|\/cancel)$/;

const DENIED_GROUP = 'denied';
const PLAIN = {
  dialect: 'openai',
  mcp: false,
  keyInQuery: false,
  keyPlace: 'bearer',
  modelPlace: 'unknown',
} as const;
const OTHER = routeOf({ class: 'management', group: 'other', ...PLAIN }, '/*');

/** Every `group` that a route can have: the closed set of a metric label. */
export const ROUTE_GROUPS: readonly string[] = [
  ...new Set([...ROWS.map((row) => row.group), OTHER.group]),
];

/** The groups at which a model answers. */
export const MODEL_GROUPS: readonly string[] = [...SAY_USAGE, ...MAY_SAY_USAGE];

const HEALTH = new Map(
  ROWS.filter((row) => row.class === 'health')
    .flatMap(routesOf)
    .map(([{ path }, route]) => [path, route]),
);
const KNOWN = indexRoutes(
  ROWS.filter((row) => row.class !== 'health' && row.class !== 'denied').flatMap(routesOf),
);
const DENIED = ROWS.filter((row) => row.class === 'denied').flatMap((row) =>
  row.paths.map(({ path }) => deniedPath(path)),
);
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'WS'];

/**
 * Makes the classifier of LiteLLM's routes. The first of these that names a path decides: health
 * rows, denyPaths, allowPaths, the denied rows of the table, inferencePaths, the rest of the table.
 * What none of them names is management. Methods count in the rest of the table alone.
 *
 * @throws TypeError where an override is no path: a mistyped one would close nothing, unseen
 */
export function createRouteTable(overrides: RouteOverrides): Classify {
  const denied = overrides.denyPaths.map(deniedPath);
  const allowed = overrides.allowPaths.map(matcher);
  const inference = overrides.inferencePaths.map(inferencePath);

  const decide = (method: string, path: string): Route => {
    const health = HEALTH.get(path);
    if (health !== undefined) return health;
    const bare = withoutSlash(path);
    const folded = bare.toLowerCase();
    const byOperator = denied.find(({ matches }) => matches(folded));
    if (byOperator !== undefined) return byOperator.route;
    const byTable = DENIED.find(({ matches }) => matches(folded));
    if (byTable !== undefined && !allowed.some((matches) => matches(bare))) return byTable.route;
    // LiteLLM answers a slash at the end with a redirect, but where a route takes it as it stands:
    // `/openai/v1/responses/` goes to the provider.
    const asItStands = lookUp(KNOWN, method, path);
    const known = asItStands ?? (bare === path ? undefined : lookUp(KNOWN, method, bare)) ?? OTHER;
    return inference.find(({ matches }) => matches(bare))?.asInference(known) ?? known;
  };

  // Paths that stand in the table to the letter are decided here, once.
  const paths = [...HEALTH.keys(), ...KNOWN.exact.keys()];
  const common = new Map(
    METHODS.map((method) => {
      const routes = paths.map((path) => [path, decide(method, path)] as const);
      return [method, new Map<string, Route>(routes)];
    }),
  );
  return (method, path) => common.get(method)?.get(path) ?? decide(method, path);
}

/** A path without the slash at its end, which the overrides and the denied rows do not count. */
function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** Whether a path is one that an entry of the overrides, or of the denied rows, stands for. */
function matcher(entry: string): (path: string) => boolean {
  const below = entry.endsWith('/*');
  const path = below ? entry.slice(0, -2) : withoutSlash(entry);
  if (!(below ? PATH_OR_NONE : PATH).test(below ? path : entry)) {
    throw new TypeError(`"${entry}" is no path: write /a/b, or /a/b/* for all below it too`);
  }
  const start = `${path}/`;
  return (other) => other === path || (below && other.startsWith(start));
}

/** The route of a closed path; `matches` takes a path in lower case. */
function deniedPath(entry: string) {
  const route = routeOf({ class: 'denied', group: DENIED_GROUP, ...PLAIN }, entry);
  return { matches: matcher(entry.toLowerCase()), route };
}

/**
 * A path for inference; `asInference` makes the known route with its class changed, each once, so
 * that requests share it.
 */
function inferencePath(entry: string) {
  const made = new Map<Route, Route>();
  const make = (known: Route): Route => {
    const template = known === OTHER ? entry : known.template;
    const saysUsage = known === OTHER ? 'maybe' : known.saysUsage;
    const route = Object.freeze<Route>({ ...known, class: 'inference', template, saysUsage });
    made.set(known, route);
    return route;
  };
  return {
    matches: matcher(entry),
    asInference: (known: Route): Route => made.get(known) ?? make(known),
  };
}

/** The paths of a row, each with the route that requests share. */
function routesOf(row: Row): (readonly [RowPath, Route])[] {
  return row.paths.map((of) => [of, routeOf(row, of.path)] as const);
}

function routeOf(row: Omit<Row, 'source' | 'paths'>, path: string): Route {
  const { group, dialect, mcp, keyInQuery, keyPlace, modelPlace } = row;
  const template = path.replace(':path}', '}');
  const saysUsage = saysUsageOf(row.class, group, template);
  const modelPath = modelPlace === 'path' ? modelPathOf(path) : undefined;
  return Object.freeze({
    ...{ group, class: row.class, dialect, template, mcp, keyInQuery, keyPlace, saysUsage },
    ...{ modelPlace, modelPath },
  });
}

/** The pattern of a path, with `{model}` in a group of its own. */
function modelPathOf(path: string): RegExp {
  const [before = '', name = '', after = ''] = path.split(/(\{model(?::path)?\})/);
  return new RegExp(`^${sourceOf(before)}(${sourceOf(name)})${sourceOf(after)}$`);
}

/** The model that a decoded path names on its route; undefined: none. */
export const modelInPath = ({ modelPath }: Route, path: string): string | undefined =>
  modelPath?.exec(withoutSlash(path))?.[1];

function saysUsageOf(kind: RouteClass, group: string, template: string): SaysUsage {
  if (kind === 'passthrough') return 'maybe';
  if (kind !== 'inference' || USES_NOTHING.test(template)) return 'never';
  if (SAY_USAGE.has(group)) return 'always';
  if (MAY_SAY_USAGE.has(group)) return 'maybe';
  return USES_UNSAID.has(group) || RUNS.test(template) ? 'unsaid' : 'never';
}
