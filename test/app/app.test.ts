import { renameSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type App, startApp } from '../../src/app/app.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig, openDeclaredPlaces, openUpstreamKeyPlaces } from '../../src/config/load.ts';
import { generateKey } from '../../src/keyring/key.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { onDiskSteps } from '../support/disk-steps.ts';

const LOOPBACK = '127.0.0.1';

let cwd = '';
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'app-'));
});
afterEach(() => rm(cwd, { recursive: true }));

/** @param onWrite told of each step on the disk but those that take the lock */
function start(port: number, onWrite: () => void = () => undefined, opsPort = 0): Promise<App> {
  onDiskSteps(join(cwd, 'state'), (step) => {
    if (!step.endsWith(' admin.sock') && !step.startsWith('make')) onWrite();
  });
  const env = {
    SIDECAR_UPSTREAM: `http://${LOOPBACK}:9`,
    SIDECAR_UPSTREAM_KEY: generateKey(),
    SIDECAR_STATE: join(cwd, 'state'),
    SIDECAR_HOST: LOOPBACK,
    SIDECAR_PORT: String(port),
    SIDECAR_OPS_HOST: LOOPBACK,
    SIDECAR_OPS_PORT: String(opsPort),
    SIDECAR_DRAIN_DELAY: '0',
  };
  const loaded = loadConfig({ env, cwd });
  if (!loaded.ok) throw new Error('a setting is wrong');
  return startApp({
    config: loaded.config,
    settings: { ...loaded, load: () => loaded },
    log: createLog({
      level: 'info',
      destination: { write: () => undefined },
      clock: systemClock,
    }),
    clock: systemClock,
    version: '0.0.0-test',
    nodeVersion: process.versions.node,
    places: openDeclaredPlaces({ env, cwd }),
    upstreamKeyPlaces: openUpstreamKeyPlaces({ env, cwd }),
    usageProgram: new URL('file:///nowhere/usage-worker.js'),
  });
}

it('a start that fails at its last step lets go of all that was begun', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => {
    other.listen(0, LOOPBACK, resolve);
  });
  const { port } = other.address() as { port: number };
  await expect(start(port)).rejects.toMatchObject({ kind: 'port' });
  await new Promise((resolve) => {
    other.close(resolve);
  });
  // The state folder is free, and so is every port.
  const app = await start(port);
  expect(app.port).toBe(port);
  await expect(start(0)).rejects.toMatchObject({ kind: 'locked' });
  await app.drain();
  const next = await start(0);
  await next.drain();
});

it('tells of both ports at once where both are in use', async () => {
  const others = [createServer(), createServer()];
  for (const other of others) {
    await new Promise<void>((resolve) => {
      other.listen(0, LOOPBACK, resolve);
    });
  }
  const [port = 0, opsPort] = others.map((other) => (other.address() as AddressInfo).port);
  const failure = await start(port, undefined, opsPort).catch((error: Error) => error);
  for (const other of others) other.close();
  expect(failure).toMatchObject({
    kind: 'port',
    message: expect.stringMatching(/^cannot listen on .* in use; cannot listen on .* in use$/),
    hint: expect.stringMatching(/SIDECAR_OPS_PORT.*SIDECAR_PORT/),
  });
});

it.each(['first', 'last'])(
  'a process that took the folder after our look has it, from the %s write on',
  async (which) => {
    let writes = 0;
    const before = await start(0, () => {
      writes += 1;
    });
    const chosen = which === 'first' ? 1 : writes;
    await before.drain();
    await rm(join(cwd, 'state'), { recursive: true });
    const other = createServer();
    await new Promise<void>((resolve) => {
      other.listen(join(cwd, 'other'), resolve);
    });
    writes = 0;
    const late = start(0, () => {
      writes += 1;
      if (writes === chosen) renameSync(join(cwd, 'other'), join(cwd, 'state', 'admin.sock'));
    });
    await expect(late).rejects.toMatchObject({
      kind: 'locked',
      message: `another sidecar runs with the state folder ${join(cwd, 'state')}`,
    });
    await new Promise((resolve) => {
      other.close(resolve);
    });
  },
);
