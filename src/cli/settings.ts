import { resolve } from 'node:path';
import manifest from '../../package.json' with { type: 'json' };
import { type ConfigPlaces, loadConfig } from '../config/load.ts';
import { formatMistakes } from '../config/sources.ts';
import { CommandError, EXIT } from './terminal.ts';

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
  throw new CommandError(formatMistakes(loaded.mistakes).trimEnd(), EXIT.configuration);
}

/**
 * The settings for a command that talks to a sidecar or to a gateway. Such a command may run beside
 * the containers, where nothing says where LiteLLM is: it does not need to know.
 */
export function readClientSettings({ env, cwd }: ConfigPlaces): SettingsInForce {
  const upstream = env['SIDECAR_UPSTREAM'] || 'http://127.0.0.1:4002';
  return readSettings({ env: { ...env, SIDECAR_UPSTREAM: upstream }, cwd });
}

/** The state folder, absolute. */
export const stateFolder = ({ config, cwd }: SettingsInForce): string => resolve(cwd, config.state);
