import { accessSync, constants, mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { CommandError, EXIT } from '../cli/exit-code.ts';
import { runSteps } from '../cli/progress.ts';
import { readSettings, type SettingsInForce } from '../cli/settings.ts';
import { say, type Terminal } from '../cli/terminal.ts';
import { readDotenv } from '../config/load.ts';
import { type LocalPorts, litellmEnvironment, sidecarEnvironment } from './environment.ts';
import { installSteps, isInstalled, litellmIn } from './install.ts';
import type { Layout } from './layout.ts';
import { claimPorts } from './ports.ts';

type Environment = Record<string, string | undefined>;

/** Everything that must be known before a process is started. */
export interface Prepared {
  readonly settings: SettingsInForce;
  readonly ports: LocalPorts;
  readonly sidecarEnv: Environment;
  readonly litellmEnv: Environment;
}

/**
 * Looks for mistakes first (settings, then ports), and only then installs what is missing.
 * Throws `CommandError`.
 */
export async function prepare(
  terminal: Terminal,
  layout: Layout,
  platform: string,
  signal: AbortSignal,
): Promise<Prepared> {
  if (platform === 'win32') {
    throw new CommandError('npm run local wants a unix shell', EXIT.unavailable, [
      'run it in wsl, or with docker: docker compose up',
    ]);
  }
  const { env, cwd } = terminal;
  const dotenv = variablesIn(resolve(cwd, env['SIDECAR_ENV_FILE'] || '.env'));
  const settings = readSettings({ env: sidecarEnvironment(env, dotenv, layout), cwd });
  for (const warning of settings.warnings) say(terminal, warning);
  const ports = await choosePorts(settings);
  const bin = await findLitellm(terminal, layout, platform, signal);
  for (const folder of [layout.slots, layout.reports]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  const provider = variablesIn(resolve(cwd, 'litellm.env'));
  const plan = { bin, folders: layout, ports: ports.litellm };
  return {
    settings,
    ports,
    sidecarEnv: sidecarEnvironment(env, dotenv, layout, ports),
    litellmEnv: litellmEnvironment(env, dotenv, provider, plan),
  };
}

/** What is wrong with `.env` is told by `readSettings`. */
const variablesIn = (file: string): Readonly<Record<string, string>> =>
  readDotenv(file).source.values;

async function choosePorts({ config }: SettingsInForce): Promise<LocalPorts> {
  const loopback = { host: '127.0.0.1', port: 0, setting: '' };
  const [traffic = 0, ops = 0, a = 0, b = 0] = await claimPorts([
    { host: config.host, port: config.port, setting: 'SIDECAR_PORT' },
    { host: config.opsHost, port: config.opsPort, setting: 'SIDECAR_OPS_PORT' },
    loopback,
    loopback,
  ]);
  return { traffic, ops, litellm: [a, b] };
}

/** The program that LITELLM_BIN names, or the one of our own, installed where it is not yet. */
async function findLitellm(
  terminal: Terminal,
  { home, litellm, pipLog }: Layout,
  platform: string,
  signal: AbortSignal,
): Promise<string> {
  const { env, cwd } = terminal;
  mkdirSync(home, { recursive: true });
  const named = env['LITELLM_BIN'] ?? '';
  if (named !== '') return executable(resolve(cwd, named));
  if (!(await isInstalled(litellm))) {
    const steps = installSteps({ folder: litellm, log: pipLog, env: { ...env }, platform, signal });
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
