import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { addClient, generationOf, rotate } from '../support/admin.ts';
import { get } from '../support/ask.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { DECLARED, serveProcess } from '../support/serve-process.ts';

const DAY_MS = 86_400_000;
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A process whose wall clock is wrong by so many milliseconds from its first moment on. */
const preload = (offMs: number): string =>
  `--import=data:text/javascript,${encodeURIComponent(
    `const now=Date.now;Date.now=()=>now()+${offMs}`,
  )}`;

async function place() {
  const state = await mkdtemp(join(tmpdir(), 'serve-clock-'));
  ends.push(() => rm(state, { recursive: true, force: true }));
  const upstream = await startFakeUpstream((peer) => peer.answer('200 OK', 'served'));
  ends.push(upstream.stop);
  return async (offMs: number) => {
    const process = await serveProcess({
      ...{ SIDECAR_UPSTREAM: upstream.url, SIDECAR_STATE: state, SIDECAR_DRAIN_DELAY: '0' },
      NODE_OPTIONS: preload(offMs),
    });
    ends.push(process.clear);
    const ports = await process.ready();
    const tried = async (key: string | null) => {
      const { response } = await get({ ...ports, key: key ?? '' });
      return response.headers['x-sidecar-refusal'] ?? response.statusCode;
    };
    const stop = async (signal: NodeJS.Signals): Promise<void> => {
      process.signal(signal);
      await process.ended;
    };
    return { state, tried, stop, stderr: process.stderr };
  };
}

it('keeps a client out that expired, however old the clock of the next start is', async () => {
  const start = await place();
  const first = await start(0);
  const { key } = await addClient(first, { name: 'guest', expires: '1s' });
  const within = { timeout: 5000, interval: 50 };
  await vi.waitFor(async () => expect(await first.tried(key)).toBe('expired_key'), within);
  await vi.waitFor(async () => {
    const text = await readFile(join(first.state, 'keyring.json'), 'utf8');
    const [, sureAt] = /"sureAt": (\d+)/.exec(text) ?? [];
    const [, expiresAt] = /"expiresAt":(\d+)/.exec(text) ?? [];
    expect(Number(sureAt)).toBeGreaterThanOrEqual(Number(expiresAt));
  }, within);
  await first.stop('SIGKILL');
  const second = await start(-400 * DAY_MS);
  expect(await second.tried(key)).toBe('expired_key');
  expect(second.stderr()).toContain('behind the time that has passed');
});

it('ends no grace for good by a clock that is a year ahead at a start', async () => {
  const start = await place();
  const first = await start(0);
  const renewed = await rotate(first);
  expect(await first.tried(renewed.key)).toBe(200);
  await first.stop('SIGTERM');
  const second = await start(400 * DAY_MS);
  expect(await second.tried(DECLARED)).toBe('expired_key');
  expect(await second.tried(renewed.key)).toBe(200);
  await second.stop('SIGTERM');
  const third = await start(0);
  expect(await third.tried(DECLARED)).toBe(200);
  expect((await generationOf(third, 'master-1')).state).toBe('retiring');
});
