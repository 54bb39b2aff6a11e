import { existsSync } from 'node:fs';
import { join } from 'node:path';
import manifest from '../../package.json' with { type: 'json' };
import { type ConfigPlaces, loadConfig } from '../config/load.ts';
import { formatMistakes, type Mistake } from '../config/sources.ts';
import type { Secret } from '../secret.ts';
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
 * the containers, where nothing says where LiteLLM is, or whose keys are taken where nothing is
 * kept: it does not need to know.
 */
export const readClientSettings = (places: ConfigPlaces): SettingsInForce =>
  readSettings(clientPlaces(places));

function clientPlaces({ env, cwd }: ConfigPlaces): ConfigPlaces {
  const upstream = env['SIDECAR_UPSTREAM'] || 'http://127.0.0.1:4002';
  const clients = env['SIDECAR_CLIENTS'] || 'clients.yaml';
  const more = env['SIDECAR_STATE'] === 'none' ? { SIDECAR_CLIENTS: clients } : {};
  return { env: { ...env, SIDECAR_UPSTREAM: upstream, ...more }, cwd };
}

/** How a command reaches the running sidecar: by its socket, or by its ops port with the token. */
export type Door =
  | { readonly kind: 'folder'; readonly state: string }
  | { readonly kind: 'port'; readonly url: URL; readonly token: Secret };

/** Throws `CommandError` as `findStateFolder` does, or where nothing opens the ops port. */
export function findDoor(terminal: Terminal): Door {
  const state = findStateFolder(terminal);
  if (state !== undefined) return { kind: 'folder', state };
  const { adminToken: token, opsHost, opsPort } = readClientSettings(terminal).config;
  if (token !== undefined && opsPort !== 0) {
    return { kind: 'port', url: new URL(localUrl(opsHost, opsPort)), token };
  }
  const why = token === undefined ? 'SIDECAR_ADMIN_TOKEN is not set' : 'SIDECAR_OPS_PORT is 0';
  throw new CommandError(
    `a sidecar without a state folder (SIDECAR_STATE=none) is asked on its ops port, and ${why}`,
    EXIT.configuration,
    [
      'set it for the sidecar and for this command',
      'without it, the ops port has /readyz and /metrics, and the log says the rest',
    ],
  );
}

/**
 * The state folder, absolute: all that a command needs which asks the running sidecar. Whoever must
 * revoke a key at once is not kept from it by a typo somewhere else, but told of that. Undefined:
 * there is none, by SIDECAR_STATE=none. Throws `CommandError` where no sidecar was started with the
 * folder: it may be another than was meant.
 */
export function findStateFolder(terminal: Terminal): string | undefined {
  const loaded = loadConfig(clientPlaces(terminal));
  if (loaded.ok) return loaded.state;
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
