import { resolve } from 'node:path';
import { loadConfig, type Surroundings } from '../config/load.ts';
import type { Origins } from '../config/parse.ts';
import type { Config } from '../config/settings.ts';
import { DOTENV, ENVIRONMENT, formatMistakes } from '../config/sources.ts';
import { CommandError, EXIT } from './exit-code.ts';
import { findKey, type KeyPlace } from './key-place.ts';

/** The settings that a command works with, and where they came from. */
export interface SettingsInForce {
  readonly config: Config;
  readonly origins: Origins;
  readonly warnings: readonly string[];
  /** Absolute, there or not. */
  readonly envFile: string;
  readonly cwd: string;
}

/** Reads the settings. Throws `CommandError` with every mistake, exit code 64. */
export function readSettings(surroundings: Surroundings): SettingsInForce {
  const loaded = loadConfig(surroundings);
  if (loaded.ok) return { ...loaded, cwd: surroundings.cwd };
  throw new CommandError(formatMistakes(loaded.mistakes).trimEnd(), EXIT.configuration);
}

/**
 * The settings for a command that only calls a gateway. It may run where none of the sidecar's own
 * are set, beside the containers: where LiteLLM is does not matter to it, and must not be asked
 * for.
 */
export function readClientSettings({ env, cwd }: Surroundings): SettingsInForce {
  const upstream = env['SIDECAR_UPSTREAM'] || 'http://127.0.0.1:4002';
  return readSettings({ env: { ...env, SIDECAR_UPSTREAM: upstream }, cwd });
}

/** Where the declared key was found, in words. */
export function declaredWhere(origin: string, envFile: string): string {
  if (origin === ENVIRONMENT) return 'LITELLM_MASTER_KEY in the environment';
  if (origin === DOTENV) return `LITELLM_MASTER_KEY in ${envFile}`;
  return `the file ${origin}, which LITELLM_MASTER_KEY_FILE names`;
}

/** The state folder, absolute. */
export const stateFolder = ({ config, cwd }: SettingsInForce): string => resolve(cwd, config.state);

/** Where the key is that clients present. Throws `CommandError` where its file cannot be read. */
export function keyPlaceOf(settings: SettingsInForce): KeyPlace {
  const { config, origins, envFile } = settings;
  return findKey({
    state: stateFolder(settings),
    declaredKey: config.declaredKey,
    declaredWhere: declaredWhere(origins.declaredKey, envFile),
  });
}
