import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import manifest from '../../package.json' with { type: 'json' };
import { type ConfigPlaces, loadConfig } from '../config/load.ts';
import { formatMistakes, type Mistake } from '../config/sources.ts';
import { CommandError, EXIT, say, type Terminal } from './terminal.ts';

/**
 * The URL at which this machine reaches a listener, by the address that it listens on. 0.0.0.0 and
 * :: mean "all addresses", and nobody can connect to them.
 */
export function localUrl(host: string, port: number): string {
  if (host === '0.0.0.0') return `http://127.0.0.1:${port}`;
  if (host === '::') return `http://[::1]:${port}`;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

export const VERSION: string = manifest.version;

/** The settings that a command works with, and where they came from. */
export type SettingsInForce = ReturnType<typeof readSettings>;

/** Reads the settings. Throws `CommandError` with every mistake, exit code 64. */
export function readSettings(places: ConfigPlaces) {
  const loaded = loadConfig(places);
  if (loaded.ok) return { ...loaded, cwd: places.cwd };
  throw mistaken(loaded.mistakes);
}

/**
 * The settings for a command that talks to a sidecar or to a gateway. Such a command may run beside
 * the containers, where nothing says where LiteLLM is: it does not need to know.
 */
export const readClientSettings = (places: ConfigPlaces): SettingsInForce =>
  readSettings(clientPlaces(places));

function clientPlaces({ env, cwd }: ConfigPlaces): ConfigPlaces {
  const upstream = env['SIDECAR_UPSTREAM'] || 'http://127.0.0.1:4002';
  return { env: { ...env, SIDECAR_UPSTREAM: upstream }, cwd };
}

/**
 * The state folder, absolute: all that a command needs which asks the running sidecar. Whoever must
 * revoke a key at once is not kept from it by a typo somewhere else, but told of that. Throws
 * `CommandError` where no sidecar was started with the folder: it may be another than was meant.
 */
export function findStateFolder(terminal: Terminal): string {
  const loaded = loadConfig(clientPlaces(terminal));
  if (loaded.ok) return resolve(terminal.cwd, loaded.config.state);
  const { mistakes, state } = loaded;
  if (state === undefined || !existsSync(join(state, 'admin.sock'))) throw mistaken(mistakes);
  const names = [...new Set(mistakes.map(({ name }) => name))].join(', ');
  say(terminal, `the settings have mistakes, and no sidecar would start with them: ${names}`, [
    'sidecar config says what is wrong; this command goes on without them',
  ]);
  return state;
}

const mistaken = (mistakes: readonly Mistake[]): CommandError =>
  new CommandError(formatMistakes(mistakes).trimEnd(), EXIT.configuration);

/** The state folder, absolute. */
export const stateFolder = ({ config, cwd }: SettingsInForce): string => resolve(cwd, config.state);
