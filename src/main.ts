import { serve } from './cli/commands/serve.ts';
import { CommandError, sayError } from './cli/terminal.ts';

// `npm start`: the sidecar with the environment it finds, without a command line to load.
const { env, stdout, stderr } = process;
const cwd = process.cwd();
try {
  await serve({ env, cwd });
} catch (error) {
  if (!(error instanceof CommandError)) throw error;
  sayError({ env, cwd, stdout, stderr }, error);
  process.exitCode = error.exitCode;
}
