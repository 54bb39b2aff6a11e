// Installs LiteLLM where `npm run local` and `npm run test:litellm` look for it, and what the tests
// want beside it; what is there already is left as it is.
// npm run install:litellm [-- 1.104.9, which goes into .local/litellm-1.104.9]
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { installSteps, isInstalled } from '../src/local/install.ts';
import { layoutOf } from '../src/local/prepare.ts';

/**
 * What the tests want beside LiteLLM: Anthropic's SDK (OpenAI's comes with LiteLLM, which needs it),
 * and what LiteLLM's own metrics need, which its image has.
 */
const BESIDE = { anthropic: 'anthropic==2.12.0', prometheus_client: 'prometheus-client==0.23.1' };

/**
 * The other releases that are supported, by what pip is told. Not every index has the
 * litellm-proxy-extras that 1.104.9 asks for by an exact version (migrations of a database, of which
 * there is none here): the rest of what it needs is that of 1.104.8.
 */
const OTHERS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  '1.104.9': [
    ['litellm[proxy]==1.104.8', 'prisma==0.15.0'],
    ['--no-deps', 'litellm==1.104.9'],
  ],
};

const { argv, env } = process;
const other = argv[2];
const runs = other === undefined ? undefined : OTHERS[other];
if (other !== undefined && runs === undefined) {
  throw new Error(
    `no release to install: ${Object.keys(OTHERS).join(', ')} are known, not ${other}`,
  );
}
// Where npm runs it, which is the root of this checkout.
const { home, litellm: usual, pipLog } = layoutOf(process.cwd());
const litellm = other === undefined ? usual : `${usual}-${other}`;
const log = other === undefined ? pipLog : `${pipLog}.${other}`;
mkdirSync(home, { recursive: true });
if (!(await isInstalled(litellm, runs))) {
  const { signal } = new AbortController();
  for (const step of installSteps(litellm, { log, env, signal, ...(runs && { runs }) })) {
    console.error(step.title);
    await step.run(() => undefined);
  }
}
const python = join(litellm, 'bin', 'python');
for (const [module, wanted] of Object.entries(BESIDE)) {
  if (spawnSync(python, ['-c', `import ${module}`]).status === 0) continue;
  console.error(`install ${wanted}`);
  const args = ['-m', 'pip', 'install', '--no-input', '--quiet', '--disable-pip-version-check'];
  execFileSync(python, [...args, wanted], { stdio: ['ignore', 'inherit', 'inherit'] });
}
console.log(join(litellm, 'bin', 'litellm'));
