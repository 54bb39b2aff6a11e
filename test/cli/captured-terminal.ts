import type { Terminal } from '../../src/cli/terminal.ts';

/** A terminal that nobody looks at, and what was written to it. */
export function capturedTerminal(env: Terminal['env'] = {}, cwd = '.') {
  const written = { stdout: '', stderr: '' };
  const terminal: Terminal = {
    env,
    cwd,
    stdout: {
      write(text) {
        written.stdout += text;
      },
    },
    stderr: {
      write(text) {
        written.stderr += text;
      },
    },
  };
  return { terminal, written };
}
