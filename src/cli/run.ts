import { CommanderError, type OutputConfiguration } from 'commander';
import { CommandError, EXIT, type ExitCode } from './exit-code.ts';
import { createProgram } from './program.ts';
import { createActions, type Scene } from './run-actions.ts';
import { createKeyActions } from './run-key-actions.ts';
import { createUpstreamActions } from './run-upstream-actions.ts';
import { say, sayError, type Terminal } from './terminal.ts';
import { systemTime, type Time } from './time.ts';
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
  time: Time = systemTime,
): Promise<ExitCode | undefined> {
  let code: ExitCode | undefined = EXIT.ok;
  const scene: Scene = {
    terminal,
    time,
    interrupts,
    end(exitCode) {
      code = exitCode;
    },
  };
  const actions = {
    ...createActions(scene),
    ...createKeyActions(scene),
    ...createUpstreamActions(scene),
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
