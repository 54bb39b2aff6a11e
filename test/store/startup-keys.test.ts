import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config.ts';
import { digestOf } from '../../src/keyring/digest.ts';
import { generateKey, isWellFormedKey } from '../../src/keyring/key-format.ts';
import { Secret } from '../../src/secret.ts';
import { StartupError } from '../../src/startup-error.ts';
import { madeKeyPath, readStartupKeys, slotKeyPath } from '../../src/store/startup-keys.ts';

let state = '';
beforeEach(async () => {
  state = join(await mkdtemp(join(tmpdir(), 'startup-')), 'state');
});
afterEach(async () => {
  await rm(join(state, '..'), { recursive: true, force: true });
});

type Keys = Pick<Config, 'declaredKey' | 'upstreamKey' | 'slots'>;
/** Of a configuration, what these keys are read from. */
const configOf = (keys: Partial<Keys>): Config =>
  ({ state, declaredKey: undefined, upstreamKey: undefined, slots: undefined, ...keys }) as Config;
const start = async (keys: Partial<Keys>) => await readStartupKeys(configOf(keys));

const failure = async (keys: Partial<Keys>): Promise<StartupError> => {
  const error: unknown = await start(keys).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StartupError);
  return error as StartupError;
};

describe('the keys of a start', () => {
  it('are made and kept where none was declared', async () => {
    const first = await start({ upstreamKey: new Secret('sk-litellm') });
    const made = (await readFile(madeKeyPath(state), 'utf8')).trim();
    expect(isWellFormedKey(made)).toBe(true);
    expect(first).toMatchObject({ clientKey: 'made', clientDigest: digestOf(made), warnings: [] });
    const second = await start({ upstreamKey: new Secret('sk-litellm') });
    expect(second).toMatchObject({ clientKey: 'found', clientDigest: digestOf(made) });
  });

  it('are the declared one, which is written nowhere', async () => {
    const key = generateKey();
    const keys = await start({ declaredKey: new Secret(key), upstreamKey: new Secret('sk-own') });
    expect(keys).toMatchObject({ clientKey: 'declared', clientDigest: digestOf(key) });
    expect(keys.upstreamKey.reveal()).toBe('sk-own');
    await expect(readFile(madeKeyPath(state))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('with slots hold a key of their own for LiteLLM, the same at each start', async () => {
    const { upstreamKey } = await start({ slots: '/slots' });
    expect((await readFile(slotKeyPath(state, 'a'), 'utf8')).trim()).toBe(upstreamKey.reveal());
    expect(digestOf(upstreamKey.reveal())).not.toBe(
      (await start({ slots: '/slots' })).clientDigest,
    );
    expect((await start({ slots: '/slots' })).upstreamKey.reveal()).toBe(upstreamKey.reveal());
  });

  it('warn where LiteLLM runs with the key of the clients, or that key is short', async () => {
    const declared = new Secret('a8Fj3k2L9sdfL3kQ7z');
    const { upstreamKey, warnings } = await start({ declaredKey: declared });
    expect(upstreamKey.reveal()).toBe(declared.reveal());
    expect(warnings).toEqual([
      expect.stringContaining('18 characters'),
      expect.stringContaining('the key that clients hold'),
    ]);
    expect(warnings.join()).not.toContain(declared.reveal());
  });

  it('are refused where nothing says what LiteLLM runs with', async () => {
    const { kind, hint } = await failure({});
    expect(kind).toBe('configuration');
    expect(hint).toContain('SIDECAR_UPSTREAM_KEY');
  });

  it('are refused where everybody knows the declared one', async () => {
    const { kind, message, hint } = await failure({ declaredKey: new Secret('sk-1234') });
    expect(kind).toBe('configuration');
    expect(message).toContain('everybody knows');
    expect(message).not.toContain('1234');
    expect(hint).toContain('sidecar key new');
  });

  const upstreamKey = new Secret('sk-litellm-runs-with-this');
  it('are an error of the state folder where it cannot be used', async () => {
    await writeFile(state, 'a file');
    const { kind, message, hint } = await failure({ upstreamKey });
    expect(kind).toBe('state');
    expect(message).toContain('the state folder cannot be used');
    expect(hint).toContain('SIDECAR_STATE');
  });

  it('are an error where the kept one is empty', async () => {
    await mkdir(join(state, 'keys'), { recursive: true });
    await writeFile(madeKeyPath(state), '\n');
    const { kind, message } = await failure({ upstreamKey });
    expect(kind).toBe('state');
    expect(message).toContain('is empty');
  });

  it('are printed by nothing that prints them', async () => {
    const declared = generateKey();
    const keys = await start({ declaredKey: new Secret(declared), upstreamKey });
    const printed = [
      inspect(keys, { depth: 9 }),
      JSON.stringify(keys),
      `${keys.upstreamKey}`,
    ].join();
    expect(printed).not.toContain(upstreamKey.reveal());
    expect(printed).not.toContain(declared);
    expect(printed).toContain('[secret]');
  });
});
