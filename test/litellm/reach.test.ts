import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { askHealth, canConnect } from '../../src/litellm/ask.ts';

const ends: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

async function listen(onRequest: RequestListener, host = '127.0.0.1'): Promise<URL> {
  const server = createServer(onRequest).listen(0, host);
  await once(server, 'listening');
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return new URL(`http://${host.includes(':') ? `[${host}]` : host}:${port}`);
}

/** A port that was free a moment ago. */
async function nowhere(): Promise<URL> {
  const url = await listen(() => undefined);
  ends.pop()?.();
  return url;
}

describe('canConnect', () => {
  it('is true where something listens, and asks it nothing', async () => {
    let asked = 0;
    const url = await listen(() => asked++);
    expect(await canConnect(url, 1000)).toBe(true);
    expect(asked).toBe(0);
  });

  it('is true for an IPv6 address in brackets', async () => {
    const url = await listen(() => undefined, '::1').catch(() => undefined);
    // A machine without IPv6 has nothing to show here.
    if (url !== undefined) expect(await canConnect(url, 1000)).toBe(true);
  });

  it('is false where nothing listens, and where the name does not resolve', async () => {
    expect(await canConnect(await nowhere(), 1000)).toBe(false);
    expect(await canConnect(new URL('http://litellm.invalid:4000'), 2000)).toBe(false);
  });
});

describe('askHealth', () => {
  it('asks the health route below the root path, without a key', async () => {
    const seen: unknown[] = [];
    const url = await listen((request, response) => {
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
    const url = await listen((_, response) => response.writeHead(status).end());
    expect(await askHealth(url, 1000)).toBe(alive);
  });

  it('tells silence from a reset and from nobody there', async () => {
    const silent = await listen(() => undefined);
    expect(await askHealth(silent, 50)).toBe('silent');
    const resetting = await listen((request) => request.socket.resetAndDestroy());
    expect(await askHealth(resetting, 1000)).toBe('away');
    expect(await askHealth(await nowhere(), 1000)).toBe('away');
  });
});
