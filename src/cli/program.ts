import { Command, Option, type OutputConfiguration } from 'commander';
import { parseGatewayUrl, parseTimeout } from './check-options.ts';

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

/** What each command does; the program only reads the command line. */
export interface Actions {
  serve(): Promise<void>;
  keyNew(): Promise<void>;
  keyShow(): Promise<void>;
  config(flags: { readonly json?: boolean }): Promise<void>;
  check(flags: CheckFlags): Promise<void>;
}

const EPILOGUE = `
Examples:
  $ echo "LITELLM_MASTER_KEY=$(sidecar key new)" >> .env
  $ curl -H "Authorization: Bearer $(sidecar key show)" http://localhost:4000/v1/models
  $ sidecar config
  $ sidecar check --stream

Environment:
  LITELLM_MASTER_KEY  the key that clients present; without it one is made
  SIDECAR_UPSTREAM    where litellm runs
  SIDECAR_STATE       the folder of what is kept: keys, above all
  NO_COLOR            no colours
  .env in the current folder is read too; \`sidecar config\` shows every setting

Exit codes:
  0   done
  1   it failed, for instance a model in \`sidecar check\`
  2   the command line is wrong
  64  the configuration is wrong; all mistakes are told at once
  69  a port is in use
  73  the state folder cannot be written
  130 Ctrl-C
`;

const CHECK_EPILOGUE = `
Sends one tiny chat request to each model, eight at once. The key comes from --key-file, else it is
the declared one (LITELLM_MASTER_KEY), else the one that the sidecar made in SIDECAR_STATE.

Examples:
  $ sidecar check
  $ sidecar check --model nvidia-llama-3-1-405b --stream
  $ sidecar check --url https://llm.example.com --key-file ./ci.key --json

Exit codes: 0 where all answer, 1 where one fails or none is listed, 130 after Ctrl-C
`;

const SHOW_EPILOGUE = `
The key goes to stdout alone, the file that holds it to stderr:
  $ curl -H "Authorization: Bearer $(sidecar key show)" http://localhost:4000/v1/models
  $ docker compose exec sidecar sidecar key show

A key that you declared (LITELLM_MASTER_KEY) is not repeated: the exit code is 1.
`;

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
    .addHelpText('after', CHECK_EPILOGUE)
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
    .addHelpText('after', EPILOGUE)
    .exitOverride()
    .configureOutput(output);
  program
    .command('serve')
    .description('run the sidecar (what `npm start` does)')
    .action(() => actions.serve());
  const key = program.command('key').description('make a key, or show the one that was made');
  key
    .command('new')
    .description('print a fresh key; nothing is stored or changed')
    .action(() => actions.keyNew());
  key
    .command('show')
    .description('print the key that the sidecar made at its first start')
    .addHelpText('after', SHOW_EPILOGUE)
    .action(() => actions.keyShow());
  program
    .command('config')
    .description('show the settings in force and where each came from; secrets stay hidden')
    .option('--json', 'one json document instead of the table')
    .action((flags: { readonly json?: boolean }) => actions.config(flags));
  addCheck(program, actions);
  return program;
}
