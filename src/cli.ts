import { runCommandLine } from './cli/program.ts';

/** The first Ctrl-C lets a command show what it knows; the second ends the process. */
function interrupts(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort());
  return controller.signal;
}

// A reader that has seen enough (`sidecar config | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

const { env, stdout, stderr } = process;
const terminal = { env, cwd: process.cwd(), stdout, stderr, stdin: () => process.stdin };
const code = await runCommandLine(terminal, process.argv.slice(2), interrupts);
if (code !== undefined) process.exitCode = code;
