import { CommanderError, type OutputConfiguration } from 'commander';
import { CommandError, EXIT, type ExitCode } from './exit-code.ts';
import { type Actions, createProgram } from './program.ts';
import { hasColours, say, sayError, type Terminal } from './terminal.ts';
import { revoice } from './usage-voice.ts';
import { readVersion } from './version.ts';

/**
 * Runs one command line. `interrupts` hands out a signal for Ctrl-C, to the commands that have
 * something to show by then. Resolves to the exit code; undefined where `serve` sets its own.
 */
export async function runCommandLine(
  terminal: Terminal,
  args: readonly string[],
  interrupts: () => AbortSignal,
): Promise<ExitCode | undefined> {
  let code: ExitCode | undefined = EXIT.ok;
  // Each command is loaded when it is called: `key new` need not wait for an HTTP server to load.
  const actions: Actions = {
    async serve() {
      const { serve } = await import('./serve.ts');
      await serve({ env: terminal.env, cwd: terminal.cwd });
      code = undefined;
    },
    async keyNew() {
      const { keyNew } = await import('./key.ts');
      code = keyNew(terminal);
    },
    async keyShow() {
      const [{ keyShow }, { keyPlaceOf, readClientSettings }] = await Promise.all([
        import('./key.ts'),
        import('./settings.ts'),
      ]);
      code = keyShow(terminal, keyPlaceOf(readClientSettings(terminal)));
    },
    async config({ json = false }) {
      const [{ renderConfig }, { readSettings }] = await Promise.all([
        import('./config.ts'),
        import('./settings.ts'),
      ]);
      const settings = readSettings(terminal);
      for (const warning of settings.warnings) say(terminal, warning);
      const { stdout } = terminal;
      const view = { json, color: hasColours(terminal, stdout), width: stdout.columns };
      stdout.write(renderConfig(settings, view));
    },
    async check(flags) {
      const [{ check }, { resolveTarget }] = await Promise.all([
        import('./check.ts'),
        import('./check-target.ts'),
      ]);
      const { model: models = [], stream = false, json = false, timeout: timeoutMs } = flags;
      const options = { models, stream, json, timeoutMs };
      code = await check(terminal, resolveTarget(terminal, flags), options, interrupts());
    },
  };
  const output: OutputConfiguration = {
    writeOut: (text) => terminal.stdout.write(text),
    writeErr: (text) => terminal.stderr.write(text),
    outputError: (text) => {
      const { message, hints } = revoice(text);
      say(terminal, message, hints);
    },
  };
  try {
    await createProgram(readVersion(), actions, output).parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    return explain(terminal, error);
  }
}

function explain(terminal: Terminal, error: unknown): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (!(error instanceof CommandError)) throw error;
  sayError(terminal, error);
  return error.exitCode;
}
