import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Config } from '../../src/config/settings.ts';
import { NO_USE } from '../../src/keyring/client-limits.ts';
import { checkInvariants } from '../../src/keyring/invariants.ts';
import { activeOf } from '../../src/keyring/keyring.ts';
import { findKey } from '../../src/keyring/snapshot.ts';
import { type KeyEvents, type Keys, openKeys } from '../../src/rotation/keys.ts';
import { verifyAudit } from '../../src/store/audit-reader.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { clientKeyPath, createKeyFiles } from '../../src/store/key-files.ts';
import { childProgram } from '../support/child-program.ts';
import { recordState } from '../support/key-ledger.ts';

const CHILD = await childProgram(new URL('rotation-crash-child.ts', import.meta.url));
/** Children at a time. */
const AT_ONCE = 4;

type Deed = 'rotate' | 'compromised' | 'revoke';

interface Ended {
  readonly killed: boolean;
  /** The key that it had handed out before it ended. */
  readonly key: string | undefined;
  readonly revoked: boolean;
  readonly steps: number;
}

async function runChild(state: string, step: number, deed: Deed): Promise<Ended> {
  const child = spawn(process.execPath, [CHILD, state, `${state}/published`, String(step), deed], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code !== 0 && signal !== 'SIGKILL') throw new Error(`the child ended with ${code}: ${text}`);
  const lines = text.split('\n').filter((line) => line !== '');
  const said = Object.assign({}, ...lines.map((line) => JSON.parse(line) as object)) as {
    key?: string;
    revoked?: string;
    steps?: number;
  };
  return {
    killed: signal === 'SIGKILL',
    key: said.key,
    revoked: said.revoked !== undefined,
    steps: said.steps ?? 0,
  };
}

const events = new Proxy({}, { get: () => () => undefined }) as KeyEvents;

/** What the next start finds. */
async function reopen(state: string): Promise<Keys> {
  const target = { client: 'master', kind: 'file', path: `${state}/published`, variable: '' };
  const config = {
    graceMs: 3_600_000,
    maxGraceMs: 86_400_000,
    rotateEveryMs: 0,
    publish: [target],
  };
  return await openKeys({
    // Keys read no other settings.
    config: config as unknown as Config,
    store: createFileStore({ folder: state }),
    keyFiles: createKeyFiles(state),
    places: { read: async () => ({ value: undefined }) },
    clock: systemClock,
    version: '0.0.0-test',
    events,
    traffic: { inFlight: () => 0, cut: () => 0, limitUse: () => NO_USE, unlisted: () => [] },
    mayWrite: () => true,
  });
}

const keyIn = async (path: string): Promise<string> => (await readFile(path, 'utf8')).trim();

let prepared: string;
let first: string;
let second: string;
beforeAll(async () => {
  prepared = await mkdtemp(join(tmpdir(), 'sidecar-crash-'));
  const keys = await reopen(prepared);
  first = await keyIn(clientKeyPath(prepared, 'master'));
  const asked = { client: 'master', graceMs: undefined, compromised: false, force: false };
  const { key } = await keys.admin.rotate({ ...asked, idempotencyKey: undefined }, 'test');
  second = key ?? '';
  await keys.close();
});
afterAll(() => rm(prepared, { recursive: true, force: true }));

/** Lets a child do the deed and die at one step, and looks at what the next start makes of it. */
async function crashAt(step: number, deed: Deed): Promise<Ended> {
  const state = await mkdtemp(join(tmpdir(), 'sidecar-crash-'));
  try {
    await cp(prepared, state, { recursive: true });
    const ended = await runChild(state, step, deed);
    const stateBefore = await keyIn(clientKeyPath(state, 'master'));
    const published = await keyIn(`${state}/published`).catch(() => stateBefore);
    const keys = await reopen(state);
    try {
      // What leaked is revoked before a target is waited for, which gets the new key afterwards.
      const shown = deed === 'compromised' ? [stateBefore] : [stateBefore, published];
      await judge(keys, { state, ended, deed, shown });
    } finally {
      await keys.close();
    }
    return ended;
  } finally {
    await recordState(state);
    await rm(state, { recursive: true, force: true });
  }
}

async function judge(
  keys: Keys,
  about: { state: string; ended: Ended; deed: Deed; shown: readonly string[] },
): Promise<void> {
  const { state, ended, deed, shown } = about;
  const fault = (key: string): string | undefined => findKey(keys.snapshot(), key, keys.now).fault;
  expect(checkInvariants(keys.keyring())).toBeUndefined();
  // Whoever reads a published key, or was handed one, is let in.
  for (const key of [...shown, ...(ended.key === undefined ? [] : [ended.key])]) {
    expect(fault(key)).toBeUndefined();
  }
  const master = keys.keyring().clients.get('master');
  const active = master && activeOf(master);
  expect(active).toBeDefined();
  expect(master?.staged).toBeUndefined();
  // Somebody knows the active key.
  const inFile = await keyIn(clientKeyPath(state, 'master'));
  expect(findKey(keys.snapshot(), inFile, keys.now).generation?.id).toBe(
    `master-${active?.number}`,
  );
  await vi.waitFor(async () => expect(await keyIn(`${state}/published`)).toBe(inFile), 5000);
  const rotated = active?.number === 3;
  if (deed === 'compromised' && rotated) {
    expect([fault(first), fault(second)]).toEqual(['revoked_key', 'revoked_key']);
  } else if (deed !== 'revoke') {
    expect([fault(first), fault(second)]).toEqual([undefined, undefined]);
  }
  if (ended.revoked) expect(fault(first)).toBe('revoked_key');
  if (ended.key !== undefined) expect(rotated).toBe(true);
  expect(await verifyAudit(state)).toMatchObject({ ok: true });
}

describe.each<[Deed, number]>([
  ['rotate', 20],
  ['compromised', 20],
  ['revoke', 6],
])('a sidecar that is killed in the middle of: %s', (deed, least) => {
  it('is found at its next start as before or as after, whatever the step', async () => {
    const { steps, killed } = await crashAt(0, deed);
    expect(killed).toBe(false);
    expect(steps).toBeGreaterThan(least);
    const left = Array.from({ length: steps }, (_, at) => at + 1);
    let kills = 0;
    const work = async (): Promise<void> => {
      for (let step = left.shift(); step !== undefined; step = left.shift()) {
        if ((await crashAt(step, deed)).killed) kills += 1;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    // The last steps belong to the close, and their number varies by a save of the usage.
    expect(kills).toBeGreaterThan(least);
  }, 60_000);
});
