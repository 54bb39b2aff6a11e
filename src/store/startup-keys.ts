import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { checkDeclaredKey } from '../keyring/declared-key.ts';
import { digestOf } from '../keyring/digest.ts';
import { generateKey } from '../keyring/key-format.ts';
import type { Secret } from '../secret.ts';
import { StartupError } from '../startup-error.ts';
import { type KeyFile, readOrMakeKey } from './key-file.ts';

/** The keys that a sidecar runs with. */
export interface StartupKeys {
  /** Of the key that clients present. */
  readonly clientDigest: string;
  readonly clientKey: 'declared' | 'made' | 'found';
  /** What LiteLLM runs with. */
  readonly upstreamKey: Secret;
  /** For the log: what an operator should change, without any key. */
  readonly warnings: readonly string[];
}

/** Where the key stands that was made because none was declared. */
export const madeKeyPath = (state: string): string => join(state, 'keys', 'master');
/** Where the key stands that LiteLLM runs with in a slot. */
export const slotKeyPath = (state: string, slot: 'a' | 'b'): string =>
  join(state, 'upstream', `${slot}.key`);

/**
 * Finds the keys, or makes what was neither declared nor made before.
 *
 * @throws StartupError where a declared key may not be used, or the state folder cannot
 */
export async function readStartupKeys(config: Config): Promise<StartupKeys> {
  const warnings: string[] = [];
  if (config.declaredKey !== undefined) checkDeclared(config.declaredKey, warnings);
  await makeStateFolder(config.state);
  const client = config.declaredKey ?? (await keyFile(madeKeyPath(config.state)));
  const clientSecret = 'made' in client ? client.key : client;
  return {
    clientDigest: digestOf(clientSecret.reveal()),
    clientKey: 'made' in client ? (client.made ? 'made' : 'found') : 'declared',
    upstreamKey: await upstreamKey(config, warnings),
    warnings,
  };
}

function checkDeclared(key: Secret, warnings: string[]): void {
  const check = checkDeclaredKey(key.reveal());
  if (!check.ok) {
    throw new StartupError(
      'configuration',
      `LITELLM_MASTER_KEY cannot guard the gateway: ${check.reason}`,
      { hint: 'make a good one with `sidecar key new`, or remove it and one is made for you' },
    );
  }
  if (check.warning !== undefined) warnings.push(`LITELLM_MASTER_KEY: ${check.warning}`);
}

async function upstreamKey(config: Config, warnings: string[]): Promise<Secret> {
  if (config.slots !== undefined) return (await keyFile(slotKeyPath(config.state, 'a'))).key;
  if (config.upstreamKey !== undefined) return config.upstreamKey;
  if (config.declaredKey === undefined) {
    throw new StartupError('configuration', 'nothing says which key LiteLLM runs with', {
      hint: 'set SIDECAR_UPSTREAM_KEY to the LITELLM_MASTER_KEY of your LiteLLM, or SIDECAR_SLOTS',
    });
  }
  warnings.push(
    'LiteLLM runs with the key that clients hold: give it one of its own, and SIDECAR_UPSTREAM_KEY',
  );
  return config.declaredKey;
}

async function makeStateFolder(state: string): Promise<void> {
  try {
    await mkdir(state, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw stateError(state, cause);
  }
}

async function keyFile(path: string): Promise<KeyFile> {
  try {
    return await readOrMakeKey(path, generateKey);
  } catch (cause) {
    throw stateError(path, cause);
  }
}

function stateError(path: string, cause: unknown): StartupError {
  const reason = cause instanceof RangeError ? cause.message : (cause as Error).message;
  return new StartupError('state', `the state folder cannot be used: ${reason}`, {
    hint: `let the user that the sidecar runs as write ${path}, or set SIDECAR_STATE`,
    cause,
  });
}
