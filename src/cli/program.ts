import { Command, CommanderError, Option, type OutputConfiguration } from 'commander';
import { MASTER } from '../client-name.ts';
import type { HandoverView } from '../handover/views.ts';
import type { AdminClient, AdminSession } from './admin-client.ts';
import { parseGatewayUrl, parseTimeout } from './commands/check.ts';
import { addClientCommands, type ClientActions } from './commands/clients.ts';
import { addKeyCommands, type KeyActions } from './commands/rotate.ts';
import {
  addUpstreamCommands,
  type HandoverFlags,
  type UpstreamActions,
} from './commands/upstream.ts';
import * as help from './options.ts';
import { parseClient } from './options.ts';
import { readClientSettings, readVersion, stateFolder, systemTime, type Time } from './settings.ts';
import {
  CommandError,
  EXIT,
  type ExitCode,
  hasColours,
  say,
  sayError,
  type Terminal,
} from './terminal.ts';

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

/** What every action works with. */
export interface Scene {
  readonly terminal: Terminal;
  readonly time: Time;
  /** A signal for Ctrl-C; without it, Ctrl-C ends the process. */
  interrupts(): AbortSignal;
  /** How the command ended; undefined: the process goes on, and sets its own code. */
  end(code: ExitCode | undefined): void;
}

/**
 * What the commands do that need no running sidecar. Each is loaded when it is called: `key new`
 * need not wait for an HTTP server to load.
 */
export function createActions({ terminal, interrupts, end }: Scene): GatewayActions {
  return {
    async serve() {
      const { serve } = await import('./commands/serve.ts');
      await serve({ env: terminal.env, cwd: terminal.cwd });
      end(undefined);
    },
    async keyNew() {
      const { keyNew } = await import('./commands/key.ts');
      end(keyNew(terminal));
    },
    async keyShow(client) {
      const [{ keyShow, keyShowOf }, { keyPlaceOf, readClientSettings, stateFolder }] =
        await Promise.all([import('./commands/key.ts'), import('./settings.ts')]);
      const settings = readClientSettings(terminal);
      end(
        client === MASTER
          ? keyShow(terminal, keyPlaceOf(settings))
          : keyShowOf(terminal, stateFolder(settings), client),
      );
    },
    async config({ json = false }) {
      const [{ renderConfig }, { readSettings }] = await Promise.all([
        import('./commands/config.ts'),
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
        import('./commands/check.ts'),
        import('./commands/check.ts'),
      ]);
      const { model: models = [], stream = false, json = false, timeout: timeoutMs } = flags;
      const options = { models, stream, json, timeoutMs };
      end(await check(terminal, resolveTarget(terminal, flags), options, interrupts()));
    },
  };
}

/** What a command does with the running sidecar. */
export type Asking = (session: AdminSession) => Promise<ExitCode>;

/** Runs one command against the running sidecar; its end is that of the command line. */
export type Ask = (json: boolean, command: Asking) => Promise<void>;

export const stateOf = ({ terminal }: Scene): string => stateFolder(readClientSettings(terminal));

export function createAsk(scene: Scene): Ask {
  const { terminal, time, end } = scene;
  return async (json, command) => {
    const { answering, openSession } = await import('./admin-client.ts');
    const session = () => openSession(terminal, time, stateOf(scene));
    end(await answering(terminal, json, () => command(session())));
  };
}

/** What the commands do that look at keys and clients, or change them. */
export function createKeyActions(scene: Scene): KeyActions & ClientActions {
  const { terminal, time, interrupts, end } = scene;
  const state = (): string => stateOf(scene);
  const ask = createAsk(scene);
  return {
    ...createClientActions(ask),
    status: ({ json = false }) =>
      ask(json, async (session) => (await import('./commands/status.ts')).status(session, json)),
    rotate: (client, flags) => {
      const { grace, compromised = false, force = false, wait = false, json = false } = flags;
      const options = { grace, compromised, force, wait, json };
      return ask(json, async (session) =>
        (await import('./commands/rotate.ts')).rotate(session, client, options, interrupts),
      );
    },
    rollback: (client, { json = false }) =>
      ask(json, async (session) =>
        (await import('./commands/rotate.ts')).rollback(session, client, json),
      ),
    revoke: (generation, { force = false, compromised = false, json = false }) =>
      ask(json, async (session) => {
        const { revoke } = await import('./commands/rotate.ts');
        return await revoke(session, generation, { force, compromised, json });
      }),
    who: (generation, { json = false }) =>
      ask(json, async (session) =>
        (await import('./commands/status.ts')).who(session, generation, json),
      ),
    async audit({ follow = false, limit, json = false }) {
      const { showAudit } = await import('./commands/audit.ts');
      end(await showAudit(terminal, time, state(), { follow, limit, json }, interrupts));
    },
    async auditVerify({ json = false }) {
      const { verify } = await import('./commands/audit.ts');
      end(await verify(terminal, state(), json));
    },
  };
}

function createClientActions(ask: Ask): ClientActions {
  const load = () => import('./commands/clients.ts');
  return {
    listClients: ({ json = false }) =>
      ask(json, async (session) => (await load()).listClients(session, json)),
    addClient: (name, { scope: scopes = ['inference'], expires, allowFrom = [], json = false }) =>
      ask(json, async (session) =>
        (await load()).addClient(session, name, { scopes, expires, allowFrom }, json),
      ),
    switchClient: (name, to, { json = false }) =>
      ask(json, async (session) => (await load()).switchClient(session, name, to, json)),
    removeClient: (name, { force = false, json = false }) =>
      ask(json, async (session) => (await load()).removeClient(session, name, force, json)),
  };
}

/** What the commands do that are about LiteLLM's own key and configuration. */
export function createUpstreamActions(scene: Scene): UpstreamActions {
  const ask = createAsk(scene);
  const load = () => import('./commands/upstream.ts');
  const handOver = (
    { wait = false, json = false }: HandoverFlags,
    begin: (api: AdminClient) => Promise<HandoverView>,
  ): Promise<void> =>
    ask(json, async (session) => {
      const handover = await import('./commands/handover.ts');
      const { api } = session;
      return handover.handOver(session, () => begin(api), { wait, json }, scene.interrupts);
    });
  return {
    upstreamStatus: ({ json = false }) =>
      ask(json, async (session) => (await load()).upstreamStatus(session, json)),
    upstreamRotate: (flags) => handOver(flags, (api) => api.rotateUpstream()),
    upstreamReload: (flags) => handOver(flags, (api) => api.reloadUpstream(flags.dryRun ?? false)),
    upstreamHistory: ({ json = false }) =>
      ask(json, async (session) => (await load()).upstreamHistory(session, json)),
    saltKey: ({ json = false }) =>
      ask(json, async (session) => (await load()).saltKey(session, json)),
  };
}

/** A commander message as this program says it: the fault, and the hint that goes below it. */
export interface Usage {
  readonly message: string;
  readonly hints: readonly string[];
}

/**
 * Commander writes `error: unknown command 'chek'\n(Did you mean check?)`; ours are lower case,
 * without a full stop, with the suggestion as a hint, and always with a way on.
 */
export function revoice(text: string): Usage {
  const [first = '', ...rest] = text.trim().split('\n');
  const said = first
    .replace(/^error: /, '')
    .replace(/\.+$/, '')
    .replace(/\. ([A-Za-z])/, (_, start: string) => `: ${start.toLowerCase()}`)
    // Commander's two ways to say where a value stands.
    .replace(/^command-argument value '(.*)' is invalid for argument '.*?':/, "'$1' is invalid:");
  // The parsers of options say it in brackets at their end.
  const [, message = said, own] = / is invalid: /.test(said)
    ? (/^(.*) \((.+)\)$/.exec(said) ?? [])
    : [];
  if (own !== undefined) return { message, hints: [own] };
  const [, nearest] = /^\(Did you mean (.+)\?\)$/.exec(rest.join(' ').trim()) ?? [];
  if (nearest !== undefined) return { message, hints: [`did you mean ${nearest}?`] };
  // What is wrong with an argument says itself what is right.
  const hints = / is invalid: /.test(message) ? [] : ['sidecar --help lists them all'];
  return { message, hints };
}

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
