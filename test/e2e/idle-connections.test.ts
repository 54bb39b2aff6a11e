import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { callRaw, callWith, requestBytes } from '../support/raw-caller.ts';
import { answerAt } from '../support/raw-client.ts';
import { accessLine, createStages, eventually } from '../support/stage.ts';
import { SWITCHED, upgradeBytes } from '../support/websocket.ts';

const stage = createStages();

/**
 * In how many seconds the kernel asks whether the other end is there, on the socket with these two
 * ports; undefined: never. Other timers, of what is not acknowledged yet, come first and pass.
 */
const probesIn = (local: number | undefined, remote: number | undefined) =>
  eventually(() => {
    const port = (n = 0): string => n.toString(16).toUpperCase().padStart(4, '0');
    const found = new RegExp(`:${port(local)} \\S+:${port(remote)} 01 \\S+ (\\d\\d):(\\S+)`);
    const [, timer, ticks] = found.exec(readFileSync('/proc/net/tcp', 'utf8')) ?? [];
    if (timer === undefined || timer === '01') return undefined;
    return { seconds: timer === '02' ? Number.parseInt(ticks ?? '', 16) / 100 : undefined };
  });

const clientsEnd = ({ socket }: { readonly socket: Socket }) =>
  probesIn(socket.remotePort, socket.localPort);

describe.skipIf(process.platform !== 'linux')('the kernel looks after', () => {
  it('a client that says nothing, in a silent stream, too', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'GET /v1/models');
    const peer = await upstream.next();
    peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
    await caller.until('\r\n\r\n');
    const { seconds } = await clientsEnd(caller);
    expect(seconds).toBeGreaterThan(20);
    expect(seconds).toBeLessThanOrEqual(30);
  });

  it('both ends of a WebSocket', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    const peer = await upstream.next();
    peer.write(SWITCHED);
    await caller.until('\r\n\r\n');
    const ours = (await clientsEnd(caller)).seconds;
    expect(ours).toBeGreaterThan(20);
    expect(ours).toBeLessThanOrEqual(30);
    const theirs = (await clientsEnd(peer)).seconds;
    expect(theirs).toBeGreaterThan(50);
    expect(theirs).toBeLessThanOrEqual(60);
  });
});

describe('an idle connection', () => {
  it.each([
    [{}, '125'],
    [{ SIDECAR_KEEP_ALIVE: '7s' }, '7'],
    [{ SIDECAR_KEEP_ALIVE: '0' }, undefined],
  ])('is kept for as long as is set, and says so: %j', async (settings, seconds) => {
    const { sidecar } = await stage({ settings });
    const caller = await callWith(sidecar, 'GET /health/liveliness');
    const text = await caller.until('alive');
    expect(text).toMatch(/connection: keep-alive/i);
    expect(/keep-alive: timeout=(\d+)/i.exec(text)?.[1]).toBe(seconds);
  });
});

describe('a connection whose idle time ends', () => {
  it('while a request is there that was not read yet: it is answered', async () => {
    const { sidecar } = await stage({ settings: { SIDECAR_KEEP_ALIVE: '1s' } });
    const caller = await callWith(sidecar, 'GET /health/liveliness');
    await caller.until('alive');
    // As on a busy host: behind what was read in a turn timers run, and then sockets are read again.
    const other = await callWith(sidecar, 'GET /health/liveliness');
    await new Promise<void>((resolve) => {
      other.socket.once('data', () => {
        caller.send(requestBytes(sidecar, 'GET /health/liveliness'));
        for (const end = performance.now() + 2500; performance.now() < end; );
        resolve();
      });
    });
    expect((await answerAt(caller, 1)).status).toBe(200);
    expect(await caller.ended).toBe('end');
  });
});

describe('a WebSocket that LiteLLM closed', () => {
  const open = async () => {
    const on = await stage();
    const caller = await callRaw(on.sidecar.port);
    caller.socket.allowHalfOpen = true;
    caller.send(upgradeBytes(on.sidecar));
    const peer = await on.upstream.next();
    peer.write(SWITCHED);
    await caller.until('\r\n\r\n');
    return { ...on, caller, peer };
  };

  it('is over although its client keeps its half open', async () => {
    const { sidecar, caller, peer } = await open();
    peer.write('\x88\x02\x03\xe8');
    peer.socket.end();
    expect(await caller.ended).toBe('end');
    expect(await accessLine(sidecar)).toMatchObject({ status: 101 });
  });

  it('is over although LiteLLM refused the upgrade', async () => {
    const on = await stage();
    const caller = await callRaw(on.sidecar.port);
    caller.socket.allowHalfOpen = true;
    caller.send(upgradeBytes(on.sidecar));
    (await on.upstream.next()).answer('403 Forbidden', 'no');
    expect(await caller.ended).toBe('end');
    expect(await accessLine(on.sidecar)).toMatchObject({ status: 403 });
  });
});
