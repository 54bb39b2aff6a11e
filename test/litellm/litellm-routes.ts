import { readFileSync } from 'node:fs';

/** A route as LiteLLM has it. */
export interface LitellmRoute {
  /** Where LiteLLM itself puts it: `llm_api`, `public` or `other`. */
  readonly group: string;
  readonly methods: string;
  /** As FastAPI reads it: `{x:path}` takes slashes. */
  readonly path: string;
}

/** Every route of LiteLLM 1.104.2, from litellm-routes.txt beside this file. */
export const LITELLM_ROUTES: readonly LitellmRoute[] = readFileSync(
  new URL('litellm-routes.txt', import.meta.url),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [group = '', methods = '', path = ''] = line.split(' ');
    return { group, methods, path };
  });

const PARAMETER = /\{\w+(:path)?\}/;

/** The paths that a route has with each of the values in the place of each of its parameters. */
export function* pathsOf(path: string, values: readonly string[]): Generator<string> {
  const match = PARAMETER.exec(path);
  if (match === null) {
    yield path;
    return;
  }
  const open = match[1] !== undefined;
  const fitting = open ? [...values, ...values.map((value) => `a/${value}`)] : values;
  for (const value of fitting)
    yield* pathsOf(
      path.replace(match[0], () => value),
      values,
    );
}
