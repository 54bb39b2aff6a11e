import { Command, CommanderError, type OutputConfiguration } from 'commander';
import { type CommandDefinition, createCommandContext } from './command.ts';
import { auditCommand } from './commands/audit.ts';
import { checkCommand } from './commands/check.ts';
import { clientsCommand } from './commands/clients.ts';
import { configCommand } from './commands/config.ts';
import { consoleCommand } from './commands/console.ts';
import { keyCommand } from './commands/key.ts';
import { revokeCommand, rollbackCommand, rotateCommand } from './commands/rotate.ts';
import { serveCommand } from './commands/serve.ts';
import { statusCommand } from './commands/status.ts';
import { upstreamCommand } from './commands/upstream.ts';
import { usageCommand } from './commands/usage.ts';
import { whoCommand } from './commands/who.ts';
import { parsePerson } from './options.ts';
import { VERSION } from './settings.ts';
import {
  CommandError,
  EXIT,
  type ExitCode,
  say,
  sayError,
  systemTime,
  type Terminal,
  type Time,
} from './terminal.ts';

/** Each command, in the order of `sidecar --help`. */
const COMMANDS: readonly CommandDefinition[] = [
  serveCommand,
  keyCommand,
  configCommand,
  consoleCommand,
  statusCommand,
  rotateCommand,
  rollbackCommand,
  revokeCommand,
  whoCommand,
  usageCommand,
  auditCommand,
  clientsCommand,
  upstreamCommand,
  checkCommand,
];

const HELP = `
Examples:
  $ echo "LITELLM_MASTER_KEY=$(sidecar key new)" >> .env
  $ curl -H "Authorization: Bearer $(sidecar key show)" http://localhost:4000/v1/models
  $ sidecar status
  $ sidecar rotate --wait
  $ sidecar clients add staging --scope inference --expires 90d
  $ sidecar usage --by model --since 24h
  $ sidecar upstream status
  $ sidecar check --stream

Environment:
  LITELLM_MASTER_KEY  the key that clients present; without it one is made
  SIDECAR_UPSTREAM    where litellm runs
  SIDECAR_STATE       the folder of what is kept: keys, above all
  NO_COLOR            no colours
  .env in the current folder is read too; \`sidecar config\` shows every setting

Exit codes:
  0   done
  1   it failed, or was refused, for instance because a key is in use
  2   the command line is wrong: an unknown client, a grace without its unit
  64  the configuration is wrong; all mistakes are told at once
  69  a port is in use, or no sidecar runs that could be asked
  73  the state folder cannot be written
  130 Ctrl-C
`;

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
  const end = (exitCode: ExitCode | undefined): void => {
    code = exitCode;
  };
  const as = (): string | undefined => program.opts<{ as?: string }>().as;
  const context = createCommandContext({ terminal, time, interrupts, end, as });
  const program = new Command('sidecar')
    .description('a reverse proxy in front of an unmodified LiteLLM that enforces its master key')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .option('--as <person>', 'who asks, for the audit', parsePerson)
    .helpCommand('help [command]', 'explain a command')
    .addHelpText('after', HELP)
    .exitOverride()
    .configureOutput(voiceOf(terminal));
  for (const add of COMMANDS) add(program, context);
  try {
    await program.parseAsync([...args], { from: 'user' });
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

const voiceOf = (terminal: Terminal): OutputConfiguration => ({
  writeOut: (text) => terminal.stdout.write(text),
  writeErr: (text) => terminal.stderr.write(text),
  outputError: (text) => {
    const { message, hints } = revoice(text);
    say(terminal, message, hints);
  },
});

/**
 * Commander writes `error: unknown command 'chek'\n(Did you mean check?)`; ours are lower case,
 * without a full stop, with the suggestion as a hint, and always with a way on.
 */
function revoice(text: string): { readonly message: string; readonly hints: readonly string[] } {
  const [first = '', ...rest] = text.trim().split('\n');
  const said = first
    .replace(/^error: /, '')
    .replace(/\.+$/, '')
    .replace(/\. ([A-Za-z])/, (_, start: string) => `: ${start.toLowerCase()}`)
    // Commander names the argument of a bad value and not its option: here both read alike.
    .replace(/^command-argument value '(.*)' is invalid for argument '.*?':/, "'$1' is invalid:");
  // A parser's error ends with its hint in brackets (`wants` in options.ts).
  const [, message = said, own] = / is invalid: /.test(said)
    ? (/^(.*) \((.+)\)$/.exec(said) ?? [])
    : [];
  if (own !== undefined) return { message, hints: [own] };
  const [, nearest] = /^\(Did you mean (.+)\?\)$/.exec(rest.join(' ').trim()) ?? [];
  if (nearest !== undefined) return { message, hints: [`did you mean ${nearest}?`] };
  // The error of a parser says what it wants.
  const hints = / is invalid: /.test(message) ? [] : ['sidecar --help lists them all'];
  return { message, hints };
}
