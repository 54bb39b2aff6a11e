import { Command, Option, type OutputConfiguration } from 'commander';
import { MASTER } from '../keyring/keyring.ts';
import { parseGatewayUrl, parseTimeout } from './check-options.ts';
import { parseClient } from './key-options.ts';
import { addClientCommands, type ClientActions } from './program-clients.ts';
import * as help from './program-help.ts';
import { addKeyCommands, type KeyActions } from './program-keys.ts';
import { addUpstreamCommands, type UpstreamActions } from './program-upstream.ts';

/** The options of `sidecar check` as commander gives them. */
export interface CheckFlags {
  readonly url?: URL;
  readonly keyFile?: string;
  readonly model?: readonly string[];
  readonly stream?: boolean;
  readonly json?: boolean;
  /** Milliseconds. */
  readonly timeout: number;
}

/** What the commands do that need no running sidecar. */
export interface GatewayActions {
  serve(): Promise<void>;
  keyNew(): Promise<void>;
  keyShow(client: string): Promise<void>;
  config(flags: { readonly json?: boolean }): Promise<void>;
  check(flags: CheckFlags): Promise<void>;
}

/** What each command does; the program only reads the command line. */
export type Actions = GatewayActions & KeyActions & ClientActions & UpstreamActions;

const collect = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
];

function addCheck(program: Command, actions: Actions): void {
  program
    .command('check')
    .description('ask every model of the gateway for a few words, through the sidecar')
    .option('--url <url>', 'the gateway (default: this one, by its settings)', parseGatewayUrl)
    .option('--key-file <file>', 'a file that holds the key to present')
    .option('--model <name>', 'only this model; may be repeated', collect)
    .option('--stream', 'ask for streams; measure the first event, expect [DONE] at the end')
    .option('--json', 'one json document instead of the table')
    .addOption(
      new Option('--timeout <duration>', 'how long one answer may take, up to 5m')
        .argParser(parseTimeout)
        .default(30_000, '30s'),
    )
    .addHelpText('after', help.CHECK)
    .action((flags: CheckFlags) => actions.check(flags));
}

/** The command line of `sidecar`. Usage mistakes throw commander's `CommanderError`. */
export function createProgram(
  version: string,
  actions: Actions,
  output: OutputConfiguration,
): Command {
  const program = new Command('sidecar')
    .description('a reverse proxy in front of an unmodified LiteLLM that enforces its master key')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .helpCommand('help [command]', 'explain a command')
    .addHelpText('after', help.PROGRAM)
    .exitOverride()
    .configureOutput(output);
  program
    .command('serve')
    .description('run the sidecar (what `npm start` does)')
    .action(() => actions.serve());
  const key = program.command('key').description('make a key, or show the newest one of a client');
  key
    .command('new')
    .description('print a fresh key; nothing is stored or changed')
    .action(() => actions.keyNew());
  key
    .command('show')
    .description("print a client's newest key")
    .argument('[client]', 'whose key', parseClient, MASTER)
    .addHelpText('after', help.KEY_SHOW)
    .action((client: string) => actions.keyShow(client));
  program
    .command('config')
    .description('show the settings in force and where each came from; secrets stay hidden')
    .option('--json', 'one json document instead of the table')
    .action((flags: { readonly json?: boolean }) => actions.config(flags));
  addKeyCommands(program, actions);
  addClientCommands(program, actions);
  addUpstreamCommands(program, actions);
  addCheck(program, actions);
  return program;
}
