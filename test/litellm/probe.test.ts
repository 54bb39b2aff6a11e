import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { createProbe } from '../../src/litellm/probe.ts';

const ends: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ends.splice(0).reverse()) end();
  vi.restoreAllMocks();
});

/** A probe of a LiteLLM whose answers a test chooses; `heard` resolves at the next change. */
async function start(first: number, knownUp = false) {
  const state = { status: first, asked: 0 };
  const server = createServer((_, response) => {
    state.asked++;
    // 0: it is busy, and says nothing.
    if (state.status !== 0) response.writeHead(state.status).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const changes: boolean[] = [];
  let tell: (() => void) | undefined;
  const probe = createProbe({
    origin: new URL(`http://127.0.0.1:${port}`),
    rootPath: '',
    timeoutMs: 100,
    knownUp,
    onChange: (up) => {
      changes.push(up);
      tell?.();
    },
  });
  ends.push(probe.stop);
  const heard = () =>
    new Promise<void>((resolve) => {
      tell = resolve;
    });
  return { probe, state, changes, heard };
}

it('knows nothing before the first answer, and tells it once', async () => {
  const { probe, changes, heard } = await start(200);
  expect([probe.up(), probe.answeredOnce()]).toEqual([false, false]);
  await heard();
  expect([probe.up(), probe.answeredOnce()]).toEqual([true, true]);
  expect(changes).toEqual([true]);
});

it('tells that LiteLLM is not there at the start, and goes on asking until it is', async () => {
  const { probe, state, changes, heard } = await start(503);
  await heard();
  expect([probe.up(), probe.answeredOnce()]).toEqual([false, false]);
  state.status = 200;
  await heard();
  expect(changes).toEqual([false, true]);
  expect(state.asked).toBeGreaterThan(1);
});

it('woken, asks at once, and tells a change; that it answered once stays', async () => {
  const { probe, state, changes, heard } = await start(200);
  await heard();
  state.status = 503;
  probe.wake();
  await heard();
  expect([probe.up(), probe.answeredOnce()]).toEqual([false, true]);
  expect(changes).toEqual([true, false]);
});

it('takes LiteLLM for busy, and for away when it is silent for the third time', async () => {
  const { probe, state, changes, heard } = await start(200);
  await heard();
  state.status = 0;
  const away = heard();
  for (const asked of [2, 3, 4]) {
    expect(probe.up()).toBe(true);
    probe.wake();
    await vi.waitUntil(() => state.asked === asked);
    if (asked < 4) await new Promise((resolve) => setTimeout(resolve, 150));
  }
  await away;
  expect(changes).toEqual([true, false]);
});

it('woken a hundred times, asks once at a time', async () => {
  const { probe, state, heard } = await start(200);
  await heard();
  const before = state.asked;
  state.status = 503;
  for (let n = 0; n < 100; n++) probe.wake();
  await heard();
  expect(state.asked - before).toBe(1);
});

it('stopped, says nothing more', async () => {
  const { probe, state, changes, heard } = await start(200);
  await heard();
  state.status = 503;
  probe.wake();
  probe.stop();
  probe.wake();
  await new Promise((resolve) => {
    setTimeout(resolve, 50);
  });
  expect(changes).toEqual([true]);
});

it('that was told so takes LiteLLM for up, and tells when it is not', async () => {
  const { probe, state, changes, heard } = await start(200, true);
  expect([probe.up(), probe.answeredOnce()]).toEqual([true, true]);
  await vi.waitFor(() => expect(state.asked).toBe(1));
  state.status = 503;
  await vi.waitFor(() => {
    probe.wake();
    expect(state.asked).toBeGreaterThan(1);
  });
  if (changes.length === 0) await heard();
  expect(changes).toEqual([false]);
});
