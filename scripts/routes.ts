// Prints the routes of an installed LiteLLM that nobody classified yet: as lines for
// test/litellm/litellm-routes.txt, each with the class that the route table gives it as it is.
// Exits with 1 where there is one.
// npm run routes [-- the python that LiteLLM is installed for, by default that of .local/litellm]
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRouteTable } from '../src/litellm/routes.ts';
import { layoutOf } from '../src/local/prepare.ts';

interface Installed {
  readonly version: string;
  readonly routes: readonly {
    readonly methods: readonly string[];
    readonly path: string;
    readonly group: string;
    readonly endpoint: string;
  }[];
}

// Where npm runs it, which is the root of this checkout.
const root = process.cwd();
const { argv } = process;
const python = argv[2] ?? join(layoutOf(root).litellm, 'bin', 'python');
const { stdout, stderr, status, error } = spawnSync(python, ['scripts/litellm-routes.py'], {
  encoding: 'utf8',
  input: '',
  maxBuffer: 64 * 1024 * 1024,
});
if (status !== 0) throw error ?? new Error(stderr);
const { version, routes } = JSON.parse(stdout) as Installed;

const reviewed = new Set(
  readFileSync(join(root, 'test/litellm/litellm-routes.txt'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .flatMap((line) => {
      const [, methods = '', path = ''] = line.split(' ');
      return methods.split(',').map((method) => `${method} ${path}`);
    }),
);
const classify = createRouteTable({ inferencePaths: [], denyPaths: [], allowPaths: [] });
const found = new Set<string>();
for (const { methods, path, group, endpoint } of routes) {
  for (const method of methods) {
    const shown = method === '*' ? `${path}/{path:path}` : path;
    found.add(`${method} ${shown}`);
    if (reviewed.has(`${method} ${shown}`)) continue;
    const example = shown.replace(/\{\w+(?::path)?\}/g, 'x1');
    const { class: kind } = classify(method === '*' ? 'GET' : method, example);
    console.log(`${kind} ${method} ${shown}   (LiteLLM: ${group}, ${endpoint})`);
    process.exitCode = 1;
  }
}
const gone = [...reviewed].filter((name) => !found.has(name)).length;
console.error(
  `litellm ${version}: ${found.size} routes; ${gone} that are classified are not in it`,
);
