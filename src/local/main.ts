import { CommandError, sayError } from '../cli/terminal.ts';
import { runLocal } from './run.ts';

const { env, stdout, stderr } = process;
// A terminal that was closed (SIGHUP) takes no more words. Such an error must not end this process
// before the two that it watches have ended in order.
for (const stream of [stdout, stderr]) stream.on('error', () => undefined);
const terminal = { env, cwd: process.cwd(), stdout, stderr };
try {
  process.exitCode = await runLocal(terminal);
} catch (error) {
  if (!(error instanceof CommandError)) throw error;
  sayError(terminal, error);
  process.exitCode = error.exitCode;
}
