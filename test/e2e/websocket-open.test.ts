import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { createStages, eventually, series } from '../support/stage.ts';
import { accept, closed, message, opened, openWebSocket, refused } from '../support/websocket.ts';

const stage = createStages();

describe('a WebSocket', () => {
  it('opened by Authorization: frames pass both ways, whole', async () => {
    const { sidecar, upstream } = await stage();
    const client = openWebSocket(sidecar);
    const peer = await upstream.next();
    expect(peer.target).toBe('/v1/realtime?model=m');
    expect(peer.values('authorization')).toEqual([`Bearer ${sidecar.upstreamKey}`]);
    expect(peer.rawHead).not.toContain(sidecar.key);
    const server = await accept(peer);
    await opened(client);
    expect(await series(sidecar, 'websockets_in_flight')).toBe(1);
    for (const size of [0, 125, 126, 65_535, 65_536, 3_000_000]) {
      const sent = Buffer.alloc(size, `${size}.`);
      client.send(sent);
      const [up, binary] = await once(server, 'message');
      expect(binary).toBe(true);
      expect(sent.equals(up as Buffer)).toBe(true);
      server.send(sent.toString());
      expect((await message(client)) === sent.toString()).toBe(true);
    }
    client.close(1000);
    await closed(server);
  });

  it('opened by subprotocol: the key goes no further, and `realtime` is picked', async () => {
    const { sidecar, upstream } = await stage();
    const client = openWebSocket(sidecar, {
      headers: {},
      protocols: ['realtime', `openai-insecure-api-key.${sidecar.key}`, 'openai-beta.realtime-v1'],
    });
    const peer = await upstream.next();
    expect(peer.rawHead).not.toContain(sidecar.key);
    expect(peer.values('sec-websocket-protocol').join(', ')).toBe(
      'realtime, openai-beta.realtime-v1',
    );
    expect(peer.values('authorization')).toEqual([`Bearer ${sidecar.upstreamKey}`]);
    await accept(peer);
    await opened(client);
    expect(client.protocol).toBe('realtime');
    client.terminate();
  });

  it("LiteLLM's close code and reason reach the client, and the client's LiteLLM", async () => {
    const { sidecar, upstream } = await stage();
    const first = openWebSocket(sidecar);
    const server = await accept(await upstream.next());
    await opened(first);
    const heard = closed(first);
    server.close(1011, 'Internal server error');
    expect(await heard).toEqual({ code: 1011, reason: 'Internal server error' });
    await eventually(() => sidecar.accessLines().find((line) => line['status'] === 101));

    const second = openWebSocket(sidecar);
    const other = await accept(await upstream.next());
    await opened(second);
    second.close(4001, 'bye');
    expect(await closed(other)).toEqual({ code: 4001, reason: 'bye' });
  });

  it('a message in the same packet as the 101 is not lost', async () => {
    const { sidecar, upstream } = await stage();
    const client = openWebSocket(sidecar);
    const peer = await upstream.next();
    peer.socket.cork();
    const server = await accept(peer);
    server.send('early');
    peer.socket.uncork();
    expect(await message(client)).toBe('early');
    client.terminate();
  });

  it('refused by LiteLLM: its 403 passes through as it is', async () => {
    const { sidecar, upstream } = await stage();
    const client = openWebSocket(sidecar);
    const peer = await upstream.next();
    peer.answer('403 Forbidden', 'no such model', 'x-litellm-version: 1.104.2');
    const { response, text } = await refused(client);
    expect(response.statusCode).toBe(403);
    expect(response.headers['x-litellm-version']).toBe('1.104.2');
    expect(response.headers['x-sidecar-refusal']).toBeUndefined();
    expect(text).toBe('no such model');
    await eventually(() => sidecar.accessLines().find((line) => line['status'] === 403));
  });

  it('refused in chunks, and the chunks pass through', async () => {
    const { sidecar, upstream } = await stage();
    const client = openWebSocket(sidecar);
    const peer = await upstream.next();
    peer.head('403 Forbidden', 'transfer-encoding: chunked');
    peer.chunk('no such ');
    peer.chunk('model');
    peer.write('0\r\n\r\n');
    expect((await refused(client)).text).toBe('no such model');
  });

  it.each([
    ['without a key', {}, 'missing_key'],
    ['with a wrong key', { authorization: 'Bearer sk-nobody-has-this-one' }, 'malformed_key'],
  ])('%s: 401 before the upgrade, and LiteLLM hears nothing', async (_, headers, code) => {
    const { sidecar, upstream } = await stage();
    const { response, text } = await refused(openWebSocket(sidecar, { headers }));
    expect(response.statusCode).toBe(401);
    expect(response.headers['x-sidecar-refusal']).toBe(code);
    expect(JSON.parse(text)).toMatchObject({ error: { code } });
    expect(upstream.requests).toHaveLength(0);
  });
});
