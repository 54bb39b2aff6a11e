import { CommandError, sayError } from '../cli/terminal.ts';
import { onInterrupt, runLocal } from './run.ts';

const { env, stdout, stderr, platform } = process;
// A terminal that was closed (SIGHUP) takes no more words; the two processes must end in order
// anyway.
for (const stream of [stdout, stderr]) stream.on('error', () => undefined);
const terminal = { env, cwd: process.cwd(), stdout, stderr };
try {
  process.exitCode = await runLocal(terminal, { platform, onInterrupt });
} catch (error) {
  if (!(error instanceof CommandError)) throw error;
  sayError(terminal, error);
  process.exitCode = error.exitCode;
}
