import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from '../secret.ts';
import { CommandError, EXIT } from './exit-code.ts';

/** Where the client key `master` stands. */
export type KeyPlace =
  /** The operator set it; `where` names the setting and the place it came from. */
  | { readonly kind: 'declared'; readonly where: string; readonly key: Secret }
  /** The sidecar made it at its first start and keeps it in `file`. */
  | { readonly kind: 'made'; readonly where: string; readonly file: string; readonly key: Secret }
  /** No sidecar has started with this state folder so far. */
  | { readonly kind: 'absent'; readonly file: string };

export interface KeySettings {
  readonly state: string;
  readonly declaredKey: Secret | undefined;
  /** In words: `LITELLM_MASTER_KEY in .env`. */
  readonly declaredWhere: string;
}

/** A file that holds one key; a line break at its end is none of it. Throws `CommandError`. */
export function readKeyFile(file: string): Secret | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    const hints =
      code === 'EACCES'
        ? ['only the user that runs the sidecar may read it: sudo -u, or docker compose exec']
        : [];
    throw new CommandError(`cannot read the key file ${file} (${code ?? message})`, 1, hints);
  }
  if (text !== '') return new Secret(text);
  throw new CommandError(`the key file ${file} is empty`, EXIT.failed, [
    'write a key into it, with or without a line break at its end',
  ]);
}

/** The declared key rules; without one it is the made key. Throws `CommandError`. */
export function findKey({ state, declaredKey, declaredWhere }: KeySettings): KeyPlace {
  if (declaredKey !== undefined) {
    return { kind: 'declared', where: declaredWhere, key: declaredKey };
  }
  const file = join(state, 'keys', 'master');
  const key = readKeyFile(file);
  return key === undefined ? { kind: 'absent', file } : { kind: 'made', where: file, file, key };
}

/** What to do where no key is found. */
export function noKeyYet(file: string): CommandError {
  return new CommandError(`no key is declared, and none was made so far (${file})`, EXIT.failed, [
    'the sidecar makes one at its first start: docker compose up, or npm run local',
    'run this where the sidecar runs: docker compose exec sidecar sidecar key show',
  ]);
}
