import type { Input, Output, Terminal } from '../../src/cli/terminal.ts';

/** Of a terminal that somebody looks at. */
export interface Looked {
  readonly isTTY: true;
  readonly columns: number;
}

/** A terminal that nobody looks at, unless `looked` says how; and what was written to it. */
export function capturedTerminal(
  env: Terminal['env'] = {},
  cwd = '.',
  looked?: Looked,
  stdin?: () => Input,
) {
  const written = { stdout: '', stderr: '' };
  const output = (name: 'stdout' | 'stderr'): Output => ({
    ...looked,
    write(text) {
      written[name] += text;
    },
  });
  const terminal: Terminal = {
    ...{ env, cwd, stdout: output('stdout'), stderr: output('stderr') },
    ...(stdin && { stdin }),
  };
  return { terminal, written };
}
