import { readFileSync } from 'node:fs';
import type { RouteClass } from '../../src/litellm/routes-table.ts';

/** A route of LiteLLM's, and what it is to be for us. */
interface ReviewedRoute {
  readonly class: RouteClass;
  /** `WS`: WebSocket; `*`: all, of what is mounted as a whole. */
  readonly methods: readonly string[];
  /** As FastAPI reads it: `{x:path}` takes slashes. */
  readonly path: string;
}

/** Every route of the LiteLLM versions that litellm-routes.txt beside this file names. */
export const REVIEWED: readonly ReviewedRoute[] = readFileSync(
  new URL('litellm-routes.txt', import.meta.url),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [kind = '', methods = '', path = ''] = line.split(' ');
    return { class: kind as RouteClass, methods: methods.split(','), path };
  });

const PARAMETER = /\{\w+(:path)?\}/g;

/** The paths that a route has with each of the values in the place of one or all parameters. */
export function* pathsOf(path: string, values: readonly string[]): Generator<string> {
  const parameters = [...path.matchAll(PARAMETER)];
  const fill = (value: string, at?: number): string => {
    let count = -1;
    return path.replace(PARAMETER, () => {
      count += 1;
      return at === undefined || at === count ? value : 'x1';
    });
  };
  if (parameters.length === 0) return yield path;
  for (const value of values) {
    yield fill(value);
    for (const [at, [, open]] of parameters.entries()) {
      if (parameters.length > 1) yield fill(value, at);
      if (open !== undefined) yield fill(`a/${value}`, at);
    }
  }
}
