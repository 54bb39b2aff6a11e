import { createServer, type RequestListener } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { askHealth, canConnect, createProbe, type Probe } from '../../src/litellm/probe.ts';
import { createServers } from '../support/servers.ts';

const { listen, endAll } = createServers();

const probes: Probe[] = [];
afterEach(() => {
  for (const probe of probes.splice(0)) probe.stop();
});

/** A probe of a LiteLLM whose answers a test chooses; `heard` resolves at the next change. */
async function start(first: number, knownUp = false) {
  const state = { status: first, asked: 0, over: 0 };
  const server = createServer((_, response) => {
    state.asked++;
    response.once('close', () => state.over++);
    // A status of 0 stands for a LiteLLM that is busy and says nothing.
    if (state.status !== 0) response.writeHead(state.status).end();
  });
  const origin = await listen(server);
  const changes: boolean[] = [];
  let tell: (() => void) | undefined;
  const probe = createProbe({
    origin,
    rootPath: '',
    timeoutMs: 100,
    knownUp,
    onChange: (up) => {
      changes.push(up);
      tell?.();
    },
  });
  probes.push(probe);
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
    // The probe has waited for its time and hung up.
    await vi.waitUntil(() => state.over === asked);
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
  await vi.waitUntil(() => state.over === state.asked);
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

describe('askHealth', () => {
  const answering = (onRequest: RequestListener): Promise<URL> => listen(createServer(onRequest));

  it('asks the health route below the root path, without a key', async () => {
    const seen: unknown[] = [];
    const url = await answering((request, response) => {
      seen.push([request.method, request.url, request.headers.authorization]);
      response.end();
    });
    expect(await askHealth(new URL('/llm/', url), 1000)).toBe('alive');
    expect(seen).toEqual([['GET', '/llm/health/liveliness', undefined]]);
  });

  it.each([
    [200, 'alive'],
    [401, 'alive'],
    [404, 'alive'],
    [500, 'away'],
    [503, 'away'],
  ])('takes a %i for %s', async (status, alive) => {
    const url = await answering((_, response) => response.writeHead(status).end());
    expect(await askHealth(url, 1000)).toBe(alive);
  });

  it('tells silence from a reset and from nobody there', async () => {
    const silent = await answering(() => undefined);
    expect(await askHealth(silent, 50)).toBe('silent');
    const resetting = await answering((request) => request.socket.resetAndDestroy());
    expect(await askHealth(resetting, 1000)).toBe('away');
    endAll();
    expect(await askHealth(resetting, 1000)).toBe('away');
  });
});

describe('canConnect', () => {
  it('is true where something listens, and asks it nothing', async () => {
    let asked = 0;
    const url = await listen(createServer(() => asked++));
    expect(await canConnect(url, 1000)).toBe(true);
    expect(asked).toBe(0);
  });

  it('is true for an IPv6 address in brackets', async () => {
    const url = await listen(createServer(), '::1').catch(() => undefined);
    // A machine without IPv6 has nothing to show here.
    if (url !== undefined) expect(await canConnect(url, 1000)).toBe(true);
  });

  it('is false where nothing listens, and where the name does not resolve', async () => {
    const url = await listen(createServer());
    endAll();
    expect(await canConnect(url, 1000)).toBe(false);
    expect(await canConnect(new URL('http://litellm.invalid:4000'), 2000)).toBe(false);
  });
});
