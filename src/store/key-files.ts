import { mkdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Config } from '../config/settings.ts';
import { readKey } from '../config/text-file.ts';
import { checkDeclaredKey, generateKey } from '../keyring/key.ts';
import { Secret } from '../secret.ts';
import { StartupError } from '../startup-error.ts';
import { readStamp, replaceFile, sweepLeftovers } from './durable-file.ts';

/**
 * Puts a key alone into a file, for its owner alone, and its folder (0700) where there is none. It
 * is on the disk when this resolves; where it rejects, the file is as it was.
 *
 * @throws Error of Node's fs
 */
export async function writeKeyFile(path: string, key: Secret): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await replaceFile(path, `${key.reveal()}\n`);
}

/**
 * The key in a file, without the white space around it. Undefined where there is no file, or
 * nothing in it.
 *
 * @throws Error, of Node's fs or of what the file holds
 */
export async function readKeyFile(path: string): Promise<Secret | undefined> {
  const file = await readKey(path);
  if ('key' in file) return file.key;
  if (file.kind === 'unreadable') throw file.cause;
  return undefined;
}

/**
 * Reads the key that LiteLLM runs with in a slot, or makes one and writes it there; `made` says
 * which. The file is complete and on the disk before its key is used: no crash leaves a key in use
 * that nobody knows.
 *
 * @throws Error where the folder or the file cannot be read or written
 * @throws RangeError where the file is there and empty: a new key in its place would lock LiteLLM's
 * callers out
 */
export async function readOrMakeKey(
  path: string,
): Promise<{ readonly key: Secret; readonly made: boolean }> {
  const file = await readKey(path);
  if ('key' in file) return { key: file.key, made: false };
  if (file.kind === 'unreadable') throw file.cause;
  if (file.kind === 'empty') {
    throw new RangeError(`${path} is empty: put the key back, or delete the file`);
  }
  const key = new Secret(generateKey());
  await writeKeyFile(path, key);
  return { key, made: true };
}

/** Where the newest key of each client stands. */
export interface KeyFiles {
  /** Whether what is written is there to be read: only then may a key be made. */
  readonly keeps: boolean;
  write(client: string, key: Secret): Promise<void>;
  read(client: string): Promise<Secret | undefined>;
  /** Whether there is a file, an empty one too. */
  isThere(client: string): Promise<boolean>;
  remove(client: string): Promise<void>;
}

/** The key files of a state folder. */
export function createKeyFiles(state: string): KeyFiles {
  const pathOf = (client: string): string => clientKeyPath(state, client);
  return {
    keeps: true,
    write: (client, key) => writeKeyFile(pathOf(client), key),
    read: (client) => readKeyFile(pathOf(client)),
    isThere: async (client) => (await readStamp(pathOf(client))) !== undefined,
    remove: (client) => rm(pathOf(client), { force: true }),
  };
}

/** The key that somebody else's LiteLLM accepted last, as it is kept over restarts. */
export interface AcceptedKey {
  /** For people: where it stands. */
  readonly place: string;
  /** To be called once, at the start. Throws Error of Node's fs. */
  read(): Promise<Secret | undefined>;
  /** Throws Error of Node's fs. */
  write(key: Secret): Promise<void>;
}

/** The accepted key in a state folder. */
export function createAcceptedKey(state: string): AcceptedKey {
  const path = join(state, 'upstream', 'accepted.key');
  return {
    place: path,
    async read() {
      await sweepLeftovers(dirname(path), basename(path));
      return await readKeyFile(path);
    },
    write: (key) => writeKeyFile(path, key),
  };
}

/** Where the newest key of a client stands. */
export const clientKeyPath = (state: string, client: string): string => join(state, 'keys', client);
/** Where the newest key of `master` stands. */
export const madeKeyPath = (state: string): string => clientKeyPath(state, 'master');
/** Where the key stands that LiteLLM runs with in a slot. */
export const slotKeyPath = (state: string, slot: 'a' | 'b'): string =>
  join(state, 'upstream', `${slot}.key`);

/**
 * Whether the declared client key may guard the gateway; `warning` where it should be a better one.
 *
 * @throws StartupError where it may not
 */
export function checkDeclared(key: Secret): { readonly warning?: string } {
  const check = checkDeclaredKey(key.reveal());
  if (!check.ok) {
    throw new StartupError(
      'configuration',
      `LITELLM_MASTER_KEY cannot guard the gateway: ${check.reason}`,
      { hint: 'make a good one with `sidecar key new`, or remove it and one is made for you' },
    );
  }
  return check.warning === undefined ? {} : { warning: `LITELLM_MASTER_KEY: ${check.warning}` };
}

/** What is said where LiteLLM runs with the declared client key. */
export const SHARED_KEY = {
  message: 'LiteLLM runs with the key that clients hold',
  hint: 'give LiteLLM another LITELLM_MASTER_KEY, and put that into SIDECAR_UPSTREAM_KEY',
} as const;

/**
 * Finds the key that LiteLLM runs with at the start; with a launcher, makes the first one. The
 * warnings are for the log: what an operator should change, without any key.
 *
 * @throws StartupError where nothing says which it is, or the state folder cannot be used
 */
export async function readUpstreamKey(
  config: Pick<Config, 'state' | 'slots' | 'upstreamKey' | 'declaredKey'>,
): Promise<{ readonly key: Secret; readonly warnings: readonly string[] }> {
  if (config.slots !== undefined && config.state !== undefined) {
    const path = slotKeyPath(config.state, 'a');
    const { key } = await readOrMakeKey(path).catch((cause: unknown) => {
      throw stateError(path, cause);
    });
    return { key, warnings: [] };
  }
  if (config.upstreamKey !== undefined) return { key: config.upstreamKey, warnings: [] };
  if (config.declaredKey === undefined) {
    throw new StartupError('configuration', 'nothing says which key LiteLLM runs with', {
      hint: 'set SIDECAR_UPSTREAM_KEY to the LITELLM_MASTER_KEY of your LiteLLM, or SIDECAR_SLOTS',
    });
  }
  return { key: config.declaredKey, warnings: [`${SHARED_KEY.message}: ${SHARED_KEY.hint}`] };
}

/**
 * Makes the state folder where it is missing, for its owner alone.
 *
 * @throws StartupError where it cannot be made
 */
export async function makeStateFolder(state: string): Promise<void> {
  await mkdir(state, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw stateError(state, cause);
  });
}

/** Why the sidecar cannot start with its state folder, of which `path` cannot be used. */
export function stateError(path: string, cause: unknown): StartupError {
  const { message, code } = cause as NodeJS.ErrnoException;
  return new StartupError('state', `the state folder cannot be used: ${message}`, {
    // A file that was read and holds no key is not a matter of permissions.
    hint:
      code === undefined
        ? 'put back what was in that file, or delete the file'
        : `let the user that the sidecar runs as write ${path}, or set SIDECAR_STATE`,
    cause,
  });
}
