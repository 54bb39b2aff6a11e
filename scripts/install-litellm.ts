// Installs LiteLLM where `npm run local` and `npm run test:litellm` look for it, and Anthropic's
// SDK for Python beside it; what is there already is left as it is.
// npm run install:litellm
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { installSteps, isInstalled } from '../src/local/install.ts';
import { layoutOf } from '../src/local/prepare.ts';

/** The SDK that the tests run; OpenAI's comes with LiteLLM, which needs it. */
const ANTHROPIC = 'anthropic==2.12.0';

// Where npm runs it, which is the root of this checkout.
const { home, litellm, pipLog } = layoutOf(process.cwd());
mkdirSync(home, { recursive: true });
if (!(await isInstalled(litellm))) {
  const { signal } = new AbortController();
  for (const step of installSteps(litellm, { log: pipLog, env: process.env, signal })) {
    console.error(step.title);
    await step.run(() => undefined);
  }
}
const python = join(litellm, 'bin', 'python');
if (spawnSync(python, ['-c', 'import anthropic']).status !== 0) {
  console.error(`install ${ANTHROPIC}`);
  const args = ['-m', 'pip', 'install', '--no-input', '--quiet', '--disable-pip-version-check'];
  execFileSync(python, [...args, ANTHROPIC], { stdio: ['ignore', 'inherit', 'inherit'] });
}
console.log(join(litellm, 'bin', 'litellm'));
