import type { Command } from 'commander';
import { type AdminClient, AdminRefusal, createAdminClient } from './admin-client.ts';
import type { JsonFlag } from './options.ts';
import { readClientSettings, stateFolder } from './settings.ts';
import {
  currentUser,
  EXIT,
  type ExitCode,
  say,
  type Terminal,
  type Time,
  writeJson,
} from './terminal.ts';

/** What every command works with; `program.ts` has one made for each command line. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly time: Time;
  /** A signal for Ctrl-C; as long as nobody asks for it, Ctrl-C ends the process. */
  interrupts(): AbortSignal;
  /** The state folder by the settings, absolute. Throws `CommandError` where they have mistakes. */
  state(): string;
  /** The exit code of the command line; undefined: the process goes on, and sets its own. */
  end(code: ExitCode | undefined): void;
  /** Carries out a command that asks the running sidecar, and ends with its exit code. */
  ask(flags: JsonFlag, command: (session: AdminSession) => Promise<ExitCode>): Promise<void>;
}

/** What a command that asks the running sidecar works with. */
export interface AdminSession extends Pick<CommandContext, 'terminal' | 'time' | 'interrupts'> {
  /** Connects with each question, and not before. */
  readonly api: AdminClient;
}

/**
 * Adds one command, with its flags, help and action. `sidecar --help` loads the files of all
 * commands, so a command imports in its action what is large: a library, the app.
 */
export type CommandDefinition = (program: Command, context: CommandContext) => void;

export function createCommandContext(
  base: Pick<CommandContext, 'terminal' | 'time' | 'interrupts' | 'end'>,
): CommandContext {
  const { terminal, time, interrupts, end } = base;
  const state = (): string => stateFolder(readClientSettings(terminal));
  const onStarting = (waitMs: number): void =>
    say(terminal, `the sidecar is starting; waiting for it, ${waitMs / 1000} s at most`);
  return {
    ...base,
    state,
    async ask({ json = false }, command) {
      const actor = currentUser().name;
      const api = createAdminClient({ state: state(), actor, time, onStarting });
      try {
        end(await command({ terminal, time, interrupts, api }));
      } catch (error) {
        // A refusal is a document too; what it says goes to stderr in any case.
        if (json && error instanceof AdminRefusal) writeJson(terminal, error.document);
        throw error;
      }
    },
  };
}

/** A command's result on stdout: with `--json` the document that the sidecar gave, else a text. */
export async function showResult(
  { terminal }: AdminSession,
  { json = false }: JsonFlag,
  document: unknown,
  render: () => string | Promise<string>,
): Promise<ExitCode> {
  if (json) writeJson(terminal, document);
  else terminal.stdout.write(await render());
  return EXIT.ok;
}
