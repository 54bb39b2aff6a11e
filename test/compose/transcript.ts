import { readFileSync } from 'node:fs';

/** One command of the README's first block, and what it is said to print. */
export interface Step {
  readonly command: string;
  readonly output: string;
}

/** The first ```console block of README.md. */
export function readTranscript(): Step[] {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const block = /```console\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((step) => {
      const [command = '', ...output] = step.trimEnd().split('\n');
      return { command, output: output.join('\n') };
    });
}

/**
 * The steps as one script that prints an empty line and `== n` before each. `docker compose up` is left out: it
 * was done, under another name and on other ports.
 */
export function scriptOf(
  steps: readonly Step[],
  where: { compose: string; traffic: string; ops: string },
): string {
  return steps
    .map(({ command }, at) => {
      const here = command
        .replace('docker compose exec', `${where.compose} exec -T`)
        .replaceAll('localhost:4000', where.traffic)
        .replaceAll('localhost:4001', where.ops);
      return `printf '\\n== ${at}\\n'\n${command.startsWith('docker compose up') ? 'true' : here}\n`;
    })
    .join('');
}
