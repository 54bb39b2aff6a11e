import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { keyTextFault } from '../config/kinds.ts';
import { placeInWords } from '../config/load.ts';
import { SETTINGS } from '../config/settings.ts';
import { readKeySync } from '../config/text-file.ts';
import type { Secret } from '../secret.ts';
import { clientKeyPath } from '../store/key-files.ts';
import { keyringPath } from '../store/keyring-file.ts';
import { nearest } from '../text/nearest.ts';
import type { SettingsInForce } from './settings.ts';
import { CommandError, EXIT } from './terminal.ts';

/** Where the client key `master` stands. */
export type MasterKeyPlace =
  /** The operator set it; `where` names the setting and the place it came from. */
  | { readonly kind: 'declared'; readonly where: string; readonly key: Secret }
  /** The newest key of `master`, as the sidecar keeps it in `file`: made or declared. */
  | { readonly kind: 'made'; readonly where: string; readonly file: string; readonly key: Secret }
  /** No sidecar has started with this state folder so far; undefined: there is no such folder. */
  | { readonly kind: 'absent'; readonly file: string | undefined };

/**
 * What the state folder holds rules: a declared value may be older than the last rotation. Before
 * the first start there is only the declared one. Throws `CommandError`.
 */
export function findMasterKey(settings: SettingsInForce): MasterKeyPlace {
  const { config, origins, envFile, state } = settings;
  const kept = state === undefined ? undefined : findKeptKey(state);
  if (kept !== undefined) return { kind: 'made', where: kept.file, ...kept };
  const { declaredKey: key } = config;
  if (key === undefined) {
    return { kind: 'absent', file: state && clientKeyPath(state, 'master') };
  }
  const where = placeInWords(SETTINGS.declaredKey, origins.declaredKey, envFile);
  return { kind: 'declared', where, key };
}

/** The newest key of `master` in a state folder; undefined: none is kept. Throws `CommandError`. */
export function findKeptKey(
  state: string,
): { readonly file: string; readonly key: Secret } | undefined {
  const file = clientKeyPath(state, 'master');
  const key = keyFromFile(file);
  return key && { file, key };
}

/** What to tell where `findMasterKey` finds no key. */
export function noKeyYet(file: string | undefined): CommandError {
  if (file === undefined) {
    const message = 'no key is declared, and none is kept (SIDECAR_STATE=none)';
    return new CommandError(message, EXIT.failed, [
      'present the key of a client, in a file: sidecar check --key-file ./ci.key',
    ]);
  }
  // Where a sidecar has run, a rollback alone leaves no key: what it brings back is a digest.
  if (existsSync(keyringPath(dirname(dirname(file))))) {
    return new CommandError(`the sidecar does not keep the key of master (${file})`, EXIT.failed, [
      'after a rollback only those who hold it have it',
      '`sidecar rotate` makes a new one',
    ]);
  }
  return new CommandError(`no key is declared, and none was made so far (${file})`, EXIT.failed, [
    'the sidecar makes one at its first start: docker compose up, or npm run local',
    'run this where the sidecar runs: docker compose exec sidecar sidecar key show',
  ]);
}

/** The newest key of a client that is not `master`. Throws `CommandError`. */
export function findClientKey(
  state: string,
  client: string,
): { readonly file: string; readonly key: Secret } {
  const file = clientKeyPath(state, client);
  const key = keyFromFile(file);
  if (key !== undefined) return { file, key };
  const near = nearest(client, clientsIn(state));
  throw new CommandError(`there is no key of a client ${client} (${file})`, EXIT.usage, [
    near === undefined
      ? '`sidecar clients list` names them; after a rollback a key is kept nowhere'
      : `did you mean ${near}?`,
  ]);
}

/** The clients whose keys stand in a state folder; none where it cannot be read. */
function clientsIn(state: string): readonly string[] {
  try {
    return readdirSync(join(state, 'keys')).filter((name) => !name.startsWith('.'));
  } catch {
    return [];
  }
}
/** The key in a file; undefined where the file is not there. Throws `CommandError`. */
export function keyFromFile(path: string): Secret | undefined {
  const file = readKeySync(path);
  if ('key' in file) {
    const fault = keyTextFault(file.key.reveal());
    if (fault === undefined) return file.key;
    throw new CommandError(`the key file ${path}: ${fault}`, EXIT.configuration, [
      'write the key alone into it, with or without a line break at its end',
    ]);
  }
  switch (file.kind) {
    case 'missing':
      return undefined;
    case 'empty':
      throw new CommandError(`the key file ${path} is empty`, EXIT.failed, [
        'write a key into it, with or without a line break at its end',
      ]);
    case 'unreadable': {
      const { code = file.fault } = file.cause;
      const hints =
        code === 'EACCES'
          ? ['only the user that runs the sidecar may read it: sudo -u, or docker compose exec']
          : [];
      throw new CommandError(`cannot read the key file ${path} (${code})`, EXIT.failed, hints);
    }
  }
}
