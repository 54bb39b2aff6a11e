import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRouteTable } from '../../src/litellm/routes.ts';
import { ROWS, type RouteClass } from '../../src/litellm/routes-table.ts';
import { pathsOf, REVIEWED } from '../litellm/litellm-routes.ts';
import { findLitellm } from '../support/litellm.ts';

interface Answers {
  readonly routes: readonly { readonly methods: readonly string[]; readonly path: string }[];
  /** For each request the route, by its place in `routes`, and how it answers. */
  readonly answers: readonly (readonly [number, 'full' | 'wrong method' | 'redirect' | 'none'])[];
}

const classify = createRouteTable({ inferencePaths: [], denyPaths: [], allowPaths: [] });
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'WS'];
const reviewed = new Map<string, RouteClass>(
  REVIEWED.flatMap((route) =>
    route.methods.map((method) => [`${method} ${route.path}`, route.class] as const),
  ),
);

/** The words that stand at the same place as a parameter in a route of the same family. */
function* wordsFor(template: string, templates: readonly string[]): Generator<string> {
  const [first, ...rest] = template.split('/').slice(1);
  for (const other of templates) {
    const [otherFirst, ...words] = other.split('/').slice(1);
    if (otherFirst !== first) continue;
    for (const [at, word] of words.entries()) {
      if (rest[at]?.includes('{') || (at > rest.length && template.includes(':path}'))) yield word;
    }
  }
}

/**
 * Every request that ours says is for models or providers, of those that the routes of LiteLLM and
 * of our table suggest: any method, known words as parameters, a slash at the end.
 */
function lesserRequests(): string[] {
  const rows = ROWS.flatMap((row) => row.paths.map(({ path }) => path.replace('/*', '/{x:path}')));
  const templates = [...new Set([...REVIEWED.map(({ path }) => path), ...rows])];
  const requests = new Set<string>();
  for (const template of templates) {
    const words = new Set([...wordsFor(template, templates)].filter((word) => !/[{*]/.test(word)));
    for (const path of pathsOf(template, ['x1', ...words])) {
      for (const request of METHODS.flatMap((of) => [`${of} ${path}`, `${of} ${path}/`])) {
        const [method = '', asked = ''] = request.split(' ');
        const { class: kind } = classify(method, asked);
        if (kind === 'inference' || kind === 'passthrough') requests.add(request);
      }
    }
  }
  return [...requests];
}

/** What LiteLLM's own router makes of these requests. */
async function askRouter(requests: readonly string[]): Promise<Answers> {
  const script = fileURLToPath(new URL('../../scripts/litellm-routes.py', import.meta.url));
  const python = join(dirname(findLitellm()), 'python');
  const child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(requests.join('\n'));
  return JSON.parse(await text(child.stdout)) as Answers;
}

describe("LiteLLM's own router", () => {
  const requests = lesserRequests();
  let answers: Answers;
  beforeAll(async () => {
    answers = await askRouter(requests);
  });

  const nameOf = (at: number, method: string): string => {
    const { methods = [], path = '' } = answers.routes[at] ?? {};
    return methods.includes('*') ? `* ${path}/{path:path}` : `${method} ${path}`;
  };

  // `npm run routes` prints the lines to review, for litellm-routes.txt.
  it('has no route that nobody classified', () => {
    const names = answers.routes.flatMap(({ methods }, at) => methods.map((m) => nameOf(at, m)));
    expect(names.length).toBeGreaterThan(900);
    expect(names.filter((name) => !reviewed.has(name))).toEqual([]);
  });

  it('gives no handler of management what we call inference or pass-through', () => {
    const worse = new Set<string>();
    let handled = 0;
    for (const [n, [at, how]] of answers.answers.entries()) {
      const [method = '', path = ''] = requests[n]?.split(' ') ?? [];
      if (how !== 'full') continue;
      handled += 1;
      const ours = classify(method, path).class;
      const name = nameOf(at, method);
      // Under a provider's own prefix LiteLLM calls these LLM routes as well: `/azure/v1/files`.
      if (ours === 'passthrough' && name.includes(' /{provider}/v1/')) continue;
      const theirs = reviewed.get(name);
      if (theirs === 'inference' || theirs === ours) continue;
      worse.add(`${method} ${path} is ${ours}, and ${name} is ${theirs}`);
    }
    expect(answers.answers).toHaveLength(requests.length);
    expect(handled).toBeGreaterThan(1000);
    expect([...worse]).toEqual([]);
  });
});
