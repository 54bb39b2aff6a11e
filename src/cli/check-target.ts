import { resolve } from 'node:path';
import type { Secret } from '../secret.ts';
import { CommandError, EXIT } from './exit-code.ts';
import { noKeyYet, readKeyFile } from './key-place.ts';
import { localUrl } from './local-url.ts';
import { keyPlaceOf, readClientSettings, type SettingsInForce } from './settings.ts';
import type { Terminal } from './terminal.ts';

/** Which gateway to check, and as whom. */
export interface CheckTarget {
  readonly url: URL;
  readonly key: Secret;
  /** For people: where the key was found. */
  readonly keySource: string;
}

export interface TargetFlags {
  readonly url?: URL;
  readonly keyFile?: string;
}

type Credential = Omit<CheckTarget, 'url'>;

/**
 * What the flags name; what they leave open comes from the settings, which are not read where
 * nothing is left open. Throws `CommandError`.
 */
export function resolveTarget(terminal: Terminal, { url, keyFile }: TargetFlags): CheckTarget {
  const named = keyFile === undefined ? undefined : fromFile(resolve(terminal.cwd, keyFile));
  if (url !== undefined && named !== undefined) return { url, ...named };
  const settings = readClientSettings(terminal);
  return { url: url ?? ownUrl(settings), ...(named ?? fromSettings(settings)) };
}

function fromFile(file: string): Credential {
  const key = readKeyFile(file);
  if (key !== undefined) return { key, keySource: file };
  // A key that was put where its file's name belongs is not repeated.
  const shown = /sk-/.test(file) ? 'of this name' : file;
  throw new CommandError(`there is no key file ${shown}`, EXIT.failed, [
    '--key-file wants the path of a file that holds the key, not the key',
  ]);
}

function fromSettings(settings: SettingsInForce): Credential {
  const place = keyPlaceOf(settings);
  if (place.kind === 'absent') throw noKeyYet(place.file);
  return { key: place.key, keySource: place.where };
}

function ownUrl({ config }: SettingsInForce): URL {
  if (config.port !== 0) return new URL(localUrl(config.host, config.port));
  throw new CommandError('SIDECAR_PORT is 0: nobody but the sidecar knows its port', EXIT.failed, [
    'its ready line says which one it took: give it with --url',
  ]);
}
