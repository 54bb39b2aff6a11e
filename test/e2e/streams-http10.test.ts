import { describe, expect, it } from 'vitest';
import { rotate } from '../support/admin.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { callRaw, callWith, type RawCaller, requestBytes } from '../support/raw-caller.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { accessLine, createStages, type Stage } from '../support/stage.ts';
import { upgradeBytes } from '../support/websocket.ts';

const stage = createStages();
const LINE = 'GET /v1/models HTTP/1.0';

/** What nginx sends by default. */
async function callAsNginx(sidecar: Sidecar, ...fields: string[]): Promise<RawCaller> {
  const caller = await callRaw(sidecar.port);
  const head = [LINE, 'host: gateway', `authorization: Bearer ${sidecar.key}`, ...fields];
  caller.send(`${head.join('\r\n')}\r\n\r\n`);
  return caller;
}

/** A stream that has begun. */
async function begin({ sidecar, upstream }: Stage, ...fields: string[]) {
  const caller = await callAsNginx(sidecar, ...fields);
  const peer = await upstream.next();
  peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
  peer.chunk('data: 1\n\n');
  await caller.until('data: 1');
  return { caller, peer };
}

const BREAKS: [string, (peer: Peer) => unknown][] = [
  ['FIN', (peer) => peer.socket.end()],
  ['RST', (peer) => peer.reset()],
  ['a chunk that is none', (peer) => peer.write('xyz\r\n')],
];

describe('an answer to HTTP/1.0, which only the end of the connection ends', () => {
  it.each(BREAKS)('is reset where LiteLLM breaks off, by %s', async (_, breakOff) => {
    const on = await stage();
    const { caller, peer } = await begin(on);
    breakOff(peer);
    expect(await caller.ended).toBe('reset');
    await accessLine(on.sidecar, 'upstream_aborted');
  });

  it('is reset where its key was compromised', async () => {
    const on = await stage();
    const { caller } = await begin(on);
    await rotate(on.sidecar, { compromised: true });
    expect(await caller.ended).toBe('reset');
  });

  it('is reset at the end of the drain', async () => {
    const on = await stage({ settings: { SIDECAR_DRAIN: '10ms' } });
    const { caller } = await begin(on);
    await on.sidecar.drain();
    expect(await caller.ended).toBe('reset');
    await accessLine(on.sidecar, 'cut');
  });

  it('is reset where it is kept alive and has no length, and ends whole where it is', async () => {
    const on = await stage();
    const broken = await begin(on, 'connection: keep-alive');
    broken.peer.socket.end();
    expect(await broken.caller.ended).toBe('reset');
    const whole = await begin(on);
    whole.peer.write('0\r\n\r\n');
    expect(await whole.caller.ended).toBe('end');
    expect(whole.caller.received).toMatch(/data: 1\n\n$/);
  });

  it('is reset where the body of its request cannot be read any more', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    const head = requestBytes(sidecar, 'POST /v1/x', { fields: ['content-length: 9'] });
    caller.send(`${head.replace('HTTP/1.1', 'HTTP/1.0')}1234`);
    const peer = await upstream.next();
    peer.head('200 OK', 'transfer-encoding: chunked');
    peer.chunk('begun');
    await caller.until('begun');
    caller.socket.end();
    expect(await caller.ended).toBe('reset');
  });

  it('is reset where it refuses an upgrade and LiteLLM breaks off', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar).replace('HTTP/1.1', 'HTTP/1.0'));
    const peer = await upstream.next();
    peer.head('403 Forbidden', 'transfer-encoding: chunked');
    peer.chunk('because');
    await caller.until('because');
    peer.socket.end();
    expect(await caller.ended).toBe('reset');
  });
});

describe('an answer of LiteLLM that only the end of its connection ends', () => {
  it('ends whole with a FIN', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'GET /v1/models');
    const peer = await upstream.next();
    peer.head('200 OK', 'connection: close');
    peer.socket.end('all of it');
    expect(await caller.until('0\r\n\r\n')).toContain('all of it');
  });

  it('is broken by a RST, and not ended', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'GET /v1/models');
    const peer = await upstream.next();
    peer.head('200 OK', 'connection: close');
    peer.write('a part');
    await caller.until('a part');
    peer.reset();
    await caller.ended;
    expect(caller.received).not.toContain('0\r\n\r\n');
    await accessLine(sidecar, 'upstream_aborted');
  });
});
