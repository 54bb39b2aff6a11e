// Installs LiteLLM where `npm run local` and `npm run test:litellm` look for it, and Anthropic's
// SDK for Python beside it; what is there already is left as it is.
// Needs the built output: npm run build && node scripts/install-litellm.js
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { installSteps, isInstalled } from '../dist/local/install.js';
import { layoutOf } from '../dist/local/prepare.js';

/** The SDK that the tests run; OpenAI's comes with LiteLLM, which needs it. */
const ANTHROPIC = 'anthropic==2.12.0';

const { home, litellm, pipLog } = layoutOf(fileURLToPath(new URL('..', import.meta.url)));
const { env, platform } = process;
mkdirSync(home, { recursive: true });
if (!(await isInstalled(litellm))) {
  const { signal } = new AbortController();
  for (const step of installSteps({ folder: litellm, log: pipLog, env, platform, signal })) {
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
