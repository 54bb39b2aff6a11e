import type { Command } from 'commander';
import { type AdminClient, AdminRefusal, createAdminClient } from './admin-client.ts';
import { renderCallers } from './key-report.ts';
import type { JsonFlag } from './options.ts';
import { handoverName, stepWords } from './phrases.ts';
import { findDoor, findStateFolder } from './settings.ts';
import {
  CommandError,
  EXIT,
  type ExitCode,
  personOf,
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
  /** Who asks, as `--as` says; undefined: the user of this process. */
  as(): string | undefined;
  /**
   * The state folder by the settings, absolute. Throws `CommandError` where they have mistakes, or
   * there is none: then `instead` says where to look.
   */
  state(instead: string): string;
  /** The exit code of the command line; undefined: the process goes on, and sets its own. */
  end(code: ExitCode | undefined): void;
  /** Carries out a command that asks the running sidecar, and ends with its exit code. */
  ask(flags: JsonFlag, command: (session: AdminSession) => Promise<ExitCode>): Promise<void>;
  /** Asks the running sidecar, and shows its answer; one that came is exit code 0. */
  show<T>(
    flags: JsonFlag,
    question: (api: AdminClient) => Promise<T>,
    render: Render<T>,
  ): Promise<void>;
}

/** What a command that asks the running sidecar works with. */
export interface AdminSession extends Pick<CommandContext, 'terminal' | 'time' | 'interrupts'> {
  /** Connects with each question, and not before. */
  readonly api: AdminClient;
}

/** Makes text for people of a document that the sidecar gave; `now` is ms since the epoch. */
type Render<T> = (view: T, terminal: Terminal, now: number) => string | Promise<string>;

/**
 * Adds one command, with its flags, help and action. `sidecar --help` loads the files of all
 * commands, so a command imports in its action what is large: a library, the app.
 */
export type CommandDefinition = (program: Command, context: CommandContext) => void;

export function createCommandContext(
  base: Pick<CommandContext, 'terminal' | 'time' | 'interrupts' | 'end' | 'as'>,
): CommandContext {
  const { terminal, time, interrupts, end } = base;
  const state = (instead: string): string => {
    const folder = findStateFolder(terminal);
    if (folder !== undefined) return folder;
    throw new CommandError('nothing is kept here (SIDECAR_STATE=none)', EXIT.failed, [instead]);
  };
  const onStarting = (waitMs: number): void =>
    say(terminal, `the sidecar is starting; waiting for it, ${waitMs / 1000} s at most`);
  const ask: CommandContext['ask'] = async (flags, command) => {
    const actor = personOf(terminal, base.as());
    const api = createAdminClient({ door: findDoor(terminal), actor, time, onStarting });
    try {
      end(await command({ terminal, time, interrupts, api }));
    } catch (error) {
      if (error instanceof AdminRefusal) await showRefusal(terminal, error, flags, time.now());
      throw error;
    }
  };
  return {
    ...base,
    state,
    ask,
    show: (flags, question, render) =>
      ask(flags, async (session) =>
        showResult(session, flags, await question(session.api), render),
      ),
  };
}

/** What stands above the words of a refusal: who uses the key, or which handover is under way. */
async function showRefusal(
  terminal: Terminal,
  { document, who, handover }: AdminRefusal,
  { json = false }: JsonFlag,
  now: number,
): Promise<void> {
  // A refusal is a document too; what it says goes to stderr in any case.
  if (json) writeJson(terminal, document);
  const { stderr } = terminal;
  if (who !== undefined) stderr.write(await renderCallers(terminal, stderr, who, now));
  if (handover !== undefined)
    say(terminal, `${handoverName(handover)}: ${stepWords(handover, now)}`);
}

/** A command's result on stdout: with `--json` the document that the sidecar gave, else a text. */
export async function showResult<T>(
  { terminal, time }: AdminSession,
  { json = false }: JsonFlag,
  view: T,
  render: Render<T>,
): Promise<ExitCode> {
  if (json) writeJson(terminal, view);
  else terminal.stdout.write(await render(view, terminal, time.now()));
  return EXIT.ok;
}
