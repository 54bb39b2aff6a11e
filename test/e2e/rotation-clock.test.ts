import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { STEADY_MS } from '../../src/rotation/steady-clock.ts';
import { addClient, generationOf, rotate, status } from '../support/admin.ts';
import { get } from '../support/ask.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { type Sidecar, startSidecar } from '../support/sidecar.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** The sidecar looks at the clock each second. */
const WITHIN = { timeout: 4000, interval: 20 };
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A state folder, and sidecars that start on it one after the other, each with clocks of its own. */
async function place() {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-clock-'));
  ends.push(() => rm(folder, { recursive: true, force: true }));
  const upstream = await startFakeUpstream((peer) => peer.answer('200 OK', '{}'));
  ends.push(upstream.stop);
  const key = generateKey();
  /** `off`: how wrong the wall clock is; `passed`: how much time passed, which both clocks saw. */
  const start = async (off = 0, passed = 0) => {
    const time = { off, passed };
    const sidecar = await startSidecar(
      upstream.port,
      { LITELLM_MASTER_KEY: key, SIDECAR_STATE: folder },
      {
        clock: {
          now: () => Date.now() + time.off + time.passed,
          elapsed: () => performance.now() + time.passed,
        },
      },
    );
    ends.push(sidecar.stop);
    return { sidecar, time };
  };
  return { key, start };
}

async function tried(sidecar: Sidecar, key: string | null) {
  const { response } = await get({ ...sidecar, key: key ?? '' });
  return response.headers['x-sidecar-refusal'] ?? response.statusCode;
}

describe('a key that was made', () => {
  it('is in repeated answers for ten minutes', async () => {
    const { start } = await place();
    const { sidecar, time } = await start();
    const again = () => rotate(sidecar, {}, { headers: { 'idempotency-key': 'guessable' } });
    const { key } = await again();
    time.passed = 9 * 60_000;
    expect(await again()).toMatchObject({ key, replayed: true });
    time.passed = 11 * 60_000;
    const late = await again();
    expect(late).toMatchObject({ key: null, replayed: true, generation: { id: 'master-2' } });
  });
});

describe('a client that expired', () => {
  it('stays so at a start with an old clock, and when the clock is right again', async () => {
    const { start } = await place();
    const first = await start();
    const { key } = await addClient(first.sidecar, { name: 'guest', expires: '1h' });
    expect(await tried(first.sidecar, key)).toBe(200);
    first.time.passed = HOUR;
    expect(await tried(first.sidecar, key)).toBe('expired_key');
    await first.sidecar.stop();
    const second = await start(-30 * DAY, HOUR);
    expect(await tried(second.sidecar, key)).toBe('expired_key');
    second.time.off = 0;
    expect(await tried(second.sidecar, key)).toBe('expired_key');
    await second.sidecar.stop();
    const third = await start(-2 * HOUR, HOUR);
    expect(await tried(third.sidecar, key)).toBe('expired_key');
  });

  it('while nothing ran is refused once the clock is right, however wrong it was', async () => {
    const { start } = await place();
    const first = await start();
    const { key } = await addClient(first.sidecar, { name: 'guest', expires: '40d' });
    await first.sidecar.stop();
    const second = await start(-100 * DAY, 41 * DAY);
    expect(await tried(second.sidecar, key)).toBe(200);
    second.time.off = 0;
    await vi.waitFor(
      async () => expect(await tried(second.sidecar, key)).toBe('expired_key'),
      WITHIN,
    );
  });
});

describe('a start with a clock that is far ahead', () => {
  /** A key in its grace, with a deadline. */
  async function retiring() {
    const { key, start } = await place();
    const { sidecar } = await start();
    const renewed = await rotate(sidecar, { grace: '1h' });
    expect(await tried(sidecar, renewed.key)).toBe(200);
    await vi.waitFor(async () => {
      expect((await generationOf(sidecar, 'master-1')).clockStarted).toBe(true);
    }, WITHIN);
    const { validUntil } = await generationOf(sidecar, 'master-1');
    await sidecar.stop();
    return { key, renewed: renewed.key, start, validUntil };
  }

  it.each([
    ['while it runs', false],
    ['for the next start', true],
  ])('ends nothing for good where it is set right %s', async (_, restarts) => {
    const { key, renewed, start, validUntil } = await retiring();
    let { sidecar, time } = await start(365 * DAY);
    expect(await tried(sidecar, key)).toBe('expired_key');
    expect(await tried(sidecar, renewed)).toBe(200);
    expect((await status(sidecar)).warnings.map(({ code }) => code)).toEqual(['clock_jump']);
    expect(sidecar.logText()).toContain('days ahead of all that is stored');
    if (restarts) {
      await sidecar.stop();
      ({ sidecar, time } = await start());
    }
    time.off = 0;
    const at = sidecar;
    await vi.waitFor(async () => expect(await tried(at, key)).toBe(200), WITHIN);
    expect(await generationOf(sidecar, 'master-1')).toMatchObject({
      state: 'retiring',
      validUntil,
    });
  });

  it('is believed once it has run steadily for some minutes', async () => {
    const { key, start } = await retiring();
    const { sidecar, time } = await start(365 * DAY);
    expect((await generationOf(sidecar, 'master-1')).state).toBe('retiring');
    time.passed = STEADY_MS;
    await vi.waitFor(async () => {
      expect((await generationOf(sidecar, 'master-1')).state).toBe('retired');
    }, WITHIN);
    await sidecar.stop();
    const after = await start();
    expect(await tried(after.sidecar, key)).toBe('expired_key');
  });
});
