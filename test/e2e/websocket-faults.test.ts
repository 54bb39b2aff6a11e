import { describe, expect, it } from 'vitest';
import { callRaw } from '../support/raw-caller.ts';
import { accessLine, createStages, eventually, foundAway, series } from '../support/stage.ts';
import {
  accept,
  closed,
  message,
  opened,
  openWebSocket,
  refused,
  SWITCHED,
  upgradeBytes,
} from '../support/websocket.ts';

const stage = createStages();

describe('a WebSocket whose client leaves', () => {
  it.each(['FIN', 'RST'])('before the 101, by %s: LiteLLM is not asked any more', async (how) => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    const peer = await upstream.next();
    if (how === 'FIN') caller.socket.end();
    else caller.socket.resetAndDestroy();
    await peer.gone;
    const { status } = await accessLine(sidecar, 'client_aborted');
    expect(status).toBe(0);
    expect(await series(sidecar, 'client_aborts_total')).toBe(1);
    expect(await series(sidecar, 'upstream_errors_total{kind="reset"}')).toBe(0);
  });

  it('while it is held: its place is free at once', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_HOLD: '30s' } });
    await upstream.stop();
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    await foundAway(sidecar);
    caller.socket.end();
    await accessLine(sidecar, 'client_aborted');
    await upstream.start();
    expect(upstream.requests).toHaveLength(0);
  });

  it('by RST in the middle: LiteLLM is let go, although much is on its way', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    const peer = await upstream.next();
    peer.write(SWITCHED);
    await caller.until('\r\n\r\n');
    caller.socket.pause();
    // LiteLLM talks until nobody takes it any more.
    while (peer.socket.writableLength < 1024 * 1024) {
      peer.write(Buffer.alloc(64 * 1024, 'x'));
      await new Promise(setImmediate);
    }
    const over = new Promise((resolve) => {
      peer.socket.once('close', resolve);
    });
    caller.socket.resetAndDestroy();
    // Not a FIN alone: that would leave the connection half open for as long as LiteLLM likes.
    await over;
    await eventually(() => sidecar.accessLines().find((line) => line['status'] === 101));
  });

  it('by FIN without a close frame: LiteLLM sees the end', async () => {
    const { sidecar, upstream } = await stage();
    const client = openWebSocket(sidecar);
    const server = await accept(await upstream.next());
    await opened(client);
    const heard = closed(server);
    client.terminate();
    expect((await heard).code).toBe(1006);
  });
});

describe('a WebSocket whose upstream', () => {
  it.each(['FIN', 'RST'])('dies before the 101, by %s: 502 upstream_failed', async (how) => {
    const { sidecar, upstream } = await stage();
    const client = openWebSocket(sidecar);
    const peer = await upstream.next();
    if (how === 'FIN') peer.socket.end();
    else peer.reset();
    const { response, text } = await refused(client);
    expect(response.statusCode).toBe(502);
    expect(response.headers['x-sidecar-refusal']).toBe('upstream_failed');
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'upstream_failed' } });
    expect(upstream.requests).toHaveLength(1);
    expect(await series(sidecar, 'upstream_errors_total{kind="reset"}')).toBe(1);
  });

  it('says no HTTP: 502, and it counts as protocol', async () => {
    const { sidecar, upstream } = await stage();
    const client = openWebSocket(sidecar);
    (await upstream.next()).write('SSH-2.0-OpenSSH_9.2\r\n\r\n');
    expect((await refused(client)).response.statusCode).toBe(502);
    expect(await series(sidecar, 'upstream_errors_total{kind="protocol"}')).toBe(1);
  });

  it('resets in the middle: the client sees the break, without a close frame', async () => {
    const { sidecar, upstream } = await stage();
    const client = openWebSocket(sidecar);
    const peer = await upstream.next();
    const server = await accept(peer);
    server.on('error', () => undefined);
    await opened(client);
    const heard = closed(client);
    peer.reset();
    expect((await heard).code).toBe(1006);
    const line = await accessLine(sidecar, 'upstream_aborted');
    expect(line['abortReason']).toContain('ECONNRESET');
    expect(await series(sidecar, 'upstream_errors_total{kind="aborted"}')).toBe(1);
  });

  it.each(['FIN', 'RST'])(
    'dies in a refusal, by %s: the client is not left waiting',
    async (how) => {
      const { sidecar, upstream } = await stage();
      const caller = await callRaw(sidecar.port);
      caller.send(upgradeBytes(sidecar));
      const peer = await upstream.next();
      peer.head('403 Forbidden', 'content-length: 100');
      peer.write('no such');
      await caller.until('no such');
      if (how === 'FIN') peer.socket.end();
      else peer.reset();
      await caller.ended;
      const { abortReason } = await accessLine(sidecar, 'upstream_aborted');
      expect(abortReason).toMatch(/broke off|aborted|ECONNRESET/);
      expect(await series(sidecar, 'upstream_errors_total{kind="aborted"}')).toBe(1);
    },
  );

  it('is away and then there: the upgrade waits, and opens', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_HOLD: '30s' } });
    await upstream.stop();
    const client = openWebSocket(sidecar);
    await foundAway(sidecar);
    expect(await series(sidecar, 'requests_held')).toBe(1);
    await upstream.start();
    const server = await accept(await upstream.next());
    await opened(client);
    server.send('here again');
    expect(await message(client)).toBe('here again');
    client.terminate();
  });

  it('stays away: 503 upstream_unavailable with Retry-After', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_HOLD: '50ms' } });
    await upstream.stop();
    const { response } = await refused(openWebSocket(sidecar));
    expect(response.statusCode).toBe(503);
    expect(response.headers['x-sidecar-refusal']).toBe('upstream_unavailable');
    expect(Number(response.headers['retry-after'])).toBeGreaterThan(0);
  });

  it('has SIDECAR_CONNECT_TIMEOUT=0: there is no limit, rather than none at all', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_CONNECT_TIMEOUT: '0' } });
    const client = openWebSocket(sidecar);
    await accept(await upstream.next());
    await opened(client);
    client.terminate();
  });
});
