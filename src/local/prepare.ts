import { once } from 'node:events';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join, resolve } from 'node:path';
import { runSteps } from '../cli/progress.ts';
import { readSettings, type SettingsInForce } from '../cli/settings.ts';
import { CommandError, EXIT, say, type Terminal } from '../cli/terminal.ts';
import { readDotenv } from '../config/load.ts';
import { installSteps, isInstalled, litellmIn } from './install.ts';

/** What lies where, beneath the folder that the command was started in. */
export function layoutOf(cwd: string) {
  const home = join(cwd, '.local');
  return {
    home,
    /** The venv that LiteLLM is installed in. */
    litellm: join(home, 'litellm'),
    /** Written by the sidecar, read by the launcher. */
    slots: join(home, 'slots'),
    /** Written by the launcher, read by the sidecar. */
    reports: join(home, 'reports'),
    pipLog: join(home, 'pip.log'),
    litellmLog: join(home, 'litellm.log'),
    sidecarLog: join(home, 'sidecar.log'),
  };
}

export type Layout = Readonly<ReturnType<typeof layoutOf>>;

/** Everything that must be known before a process is started. */
export type Prepared = Awaited<ReturnType<typeof prepare>>;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Looks for mistakes first (settings, then ports), and only then installs what is missing.
 * Throws `CommandError`.
 */
export async function prepare(terminal: Terminal, layout: Layout, signal: AbortSignal) {
  if (process.platform === 'win32') {
    throw new CommandError('npm run local wants a unix shell', EXIT.unavailable, [
      'run it in wsl, or with docker: docker compose up',
    ]);
  }
  const { env, cwd } = terminal;
  const dotenv = variablesIn(resolve(cwd, env['SIDECAR_ENV_FILE'] || '.env'));
  const settings = readSettings({ env: sidecarEnvironment(env, dotenv, layout), cwd });
  for (const warning of settings.warnings) say(terminal, warning);
  const ports = await choosePorts(settings);
  const bin = await findLitellm(terminal, layout, signal);
  for (const folder of [layout.slots, layout.reports]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  const litellmDotenv = variablesIn(resolve(cwd, 'litellm.env'));
  const plan = { bin, folders: layout, ports: ports.litellm };
  return {
    settings,
    ports,
    sidecarEnv: sidecarEnvironment(env, dotenv, layout, ports),
    litellmEnv: litellmEnvironment(env, dotenv, litellmDotenv, plan),
  };
}

/** The variables in a dotenv file. Mistakes in `.env` are told by `readSettings`, and not here. */
const variablesIn = (file: string): Readonly<Record<string, string>> =>
  readDotenv(file).source.values;

/**
 * Where `npm run local` differs from the sidecar's defaults. What the operator set himself comes
 * first.
 */
const DEFAULTS: Environment = {
  SIDECAR_HOST: '127.0.0.1',
  SIDECAR_OPS_HOST: '127.0.0.1',
  SIDECAR_STATE: './state',
  SIDECAR_LITELLM_CONFIG: './config.yaml',
  SIDECAR_AUTO_RELOAD: 'true',
  // The delay is for load balancers, which need time to notice. There is none here.
  SIDECAR_DRAIN_DELAY: '0s',
};

/** The folders through which the sidecar and the launcher speak. */
type LauncherFolders = Pick<Layout, 'slots' | 'reports'>;

/**
 * What the sidecar runs with. The sidecar reads `.env` (here `dotenv`) by itself, beneath its
 * environment, so that a default here must not overrule what stands there. Without `ports`, which
 * are known only once the settings were read, the result is good for reading settings alone.
 */
export function sidecarEnvironment(
  shell: Environment,
  dotenv: Environment,
  folders: LauncherFolders,
  ports?: LocalPorts,
): Environment {
  const defaults = Object.entries(DEFAULTS).filter(([name]) => dotenv[name] === undefined);
  const [a, b] = ports?.litellm ?? [1, 2];
  return {
    ...Object.fromEntries(defaults),
    ...shell,
    // LiteLLM is started here, whatever another way to run the sidecar says of it in the shell.
    SIDECAR_UPSTREAM: `http://127.0.0.1:${a},http://127.0.0.1:${b}`,
    SIDECAR_UPSTREAM_KEY: '',
    SIDECAR_SLOTS: folders.slots,
    SIDECAR_REPORTS: folders.reports,
    ...(ports && { SIDECAR_PORT: String(ports.traffic), SIDECAR_OPS_PORT: String(ports.ops) }),
  };
}

/** The client's key and the sidecar's own settings: LiteLLM has no business with them. */
const KEPT_FROM_LITELLM = /^(?:SIDECAR_|LITELLM_MASTER_KEY(?:_FILE)?$)/;

/**
 * What the launcher runs with: the shell's environment, then `.env`, then `litellm.env`, so that
 * provider keys reach LiteLLM as they do under compose; never what belongs to the sidecar.
 */
export function litellmEnvironment(
  shell: Environment,
  dotenv: Environment,
  litellmDotenv: Environment,
  plan: {
    readonly bin: string;
    readonly folders: LauncherFolders;
    readonly ports: LocalPorts['litellm'];
  },
): Environment {
  const { bin, folders, ports } = plan;
  const merged = { ...litellmDotenv, ...dotenv, ...shell };
  const kept = Object.entries(merged).filter(([name]) => !KEPT_FROM_LITELLM.test(name));
  return {
    // In any other mode LiteLLM reads the project's .env by itself, with the sidecar's secrets.
    LITELLM_MODE: 'PRODUCTION',
    ...Object.fromEntries(kept),
    LITELLM_BIN: bin,
    LAUNCHER_SLOTS: folders.slots,
    LAUNCHER_REPORTS: folders.reports,
    LAUNCHER_PORT_A: String(ports[0]),
    LAUNCHER_PORT_B: String(ports[1]),
  };
}

type LocalPorts = Awaited<ReturnType<typeof choosePorts>>;

/** Those of LiteLLM are for slots a and b, on the loopback. */
async function choosePorts({ config }: SettingsInForce) {
  const loopback = { host: '127.0.0.1', port: 0, setting: '' };
  const [traffic = 0, ops = 0, a = 0, b = 0] = await claimPorts([
    { host: config.host, port: config.port, setting: 'SIDECAR_PORT' },
    { host: config.opsHost, port: config.opsPort, setting: 'SIDECAR_OPS_PORT' },
    loopback,
    loopback,
  ]);
  return { traffic, ops, litellm: [a, b] as const };
}

/** An address to listen on, and the setting that names its port. */
interface WantedPort {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly setting: string;
}

/**
 * Checks that ports are free and picks one for each 0; all are held at once, so that they differ.
 * Another process may take one in the moment after. Throws `CommandError`.
 */
export async function claimPorts(wanted: readonly WantedPort[]): Promise<readonly number[]> {
  const held: Server[] = [];
  const failures: PortFailure[] = [];
  try {
    for (const each of wanted) {
      const { host, port } = each;
      const server = createServer().listen({ host, port, exclusive: true });
      await once(server, 'listening').then(
        () => held.push(server),
        (error: NodeJS.ErrnoException) => failures.push({ ...each, error }),
      );
    }
    if (failures.length > 0) throw explainPorts(failures);
    return held.map((server) => (server.address() as AddressInfo).port);
  } finally {
    await Promise.all(held.map((server) => once(server.close(), 'close')));
  }
}

type PortFailure = WantedPort & { readonly error: NodeJS.ErrnoException };

/** All at once: who moves one port would only meet the next. */
function explainPorts(failures: readonly PortFailure[]): CommandError {
  const used = failures.filter(({ error }) => error.code === 'EADDRINUSE');
  const others = failures.filter((each) => !used.includes(each)).map(explainPort);
  const [first = ''] = used.map(({ port }) => `port ${port} is in use`);
  const ports = used.map(({ port }) => port).join(' and ');
  const inUse = used.length === 1 ? first : `ports ${ports} are in use`;
  const moved = used.map(({ setting, port }) => `${setting}=${port + 100}`).join(' ');
  const usedHints = [
    `take ${used.length === 1 ? 'another' : 'others'}: ${moved} npm run local`,
    'or end what listens there: is it `docker compose up`, or another `npm run local`?',
  ];
  const messages = [...(used.length > 0 ? [inUse] : []), ...others.map(({ message }) => message)];
  const hints = [...(used.length > 0 ? usedHints : []), ...others.map(({ hint }) => hint)];
  return new CommandError(messages.join('; '), EXIT.unavailable, hints);
}

function explainPort({ error, host, port, setting }: PortFailure) {
  if (error.code === 'EACCES') {
    const hint = `ports below 1024 want privileges; take another with ${setting}`;
    return { message: `port ${port} is not allowed`, hint };
  }
  const hint = 'the address must be one of this machine; 127.0.0.1 always is';
  return { message: `cannot listen on ${host}:${port} (${error.message})`, hint };
}

/** The program that LITELLM_BIN names, or the one in `.local`, installed where it is not yet. */
async function findLitellm(
  terminal: Terminal,
  { home, litellm, pipLog: log }: Layout,
  signal: AbortSignal,
): Promise<string> {
  const { env, cwd } = terminal;
  mkdirSync(home, { recursive: true });
  if (env['LITELLM_BIN']) return executable(resolve(cwd, env['LITELLM_BIN']));
  if (!(await isInstalled(litellm))) {
    const steps = installSteps(litellm, { log, env: { ...env }, signal });
    await runSteps(terminal, steps, { concurrency: 1, keepGoing: false });
  }
  return litellmIn(litellm);
}

function executable(file: string): string {
  try {
    accessSync(file, constants.X_OK);
    return file;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CommandError(`LITELLM_BIN names no program: ${file} (${code})`, EXIT.configuration, [
      'leave it unset, and litellm is installed in .local/litellm',
    ]);
  }
}
