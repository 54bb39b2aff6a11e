import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { Gate } from '../../src/proxy/websocket.ts';

const ends: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ends.splice(0).reverse()) end();
});

/** A gate on a real socket, the client at its other end, and what that client got. */
async function start() {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
  const [socket] = (await accepted) as [Socket];
  ends.push(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  let text = '';
  client.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  const got = async (wanted: string): Promise<string> => {
    while (!text.includes(wanted)) await once(client, 'data');
    return text;
  };
  return { gate: new Gate(socket), socket, client, got };
}

const HEAD = 'HTTP/1.1 101 Switching Protocols\r\n\r\n';
const frame = (text: string): Buffer =>
  Buffer.from(`\x81${String.fromCharCode(text.length)}${text}`, 'latin1');
const GOODBYE = 'the gateway is stopping';

it('passes bytes both ways and counts them', async () => {
  const { gate, client, got } = await start();
  gate.write(HEAD);
  await got(HEAD);
  client.write('up');
  expect(String((await once(gate, 'data'))[0])).toBe('up');
  expect([gate.bytesUp, gate.bytesDown]).toEqual([2, HEAD.length]);
});

it('asked to go away between frames: says goodbye at once, and nothing after it', async () => {
  const { gate, got } = await start();
  gate.opened();
  gate.write(HEAD);
  gate.write(frame('one'));
  await got('one');
  gate.goAway('the gateway is stopping');
  gate.goAway('the gateway is stopping');
  gate.write(frame('two'));
  gate.end();
  const text = await got(GOODBYE);
  expect(text.endsWith(GOODBYE)).toBe(true);
  expect(text.split(GOODBYE)).toHaveLength(2);
});

it('asked to go away before the 101 is written: the head first, then goodbye', async () => {
  const { gate, got } = await start();
  gate.opened();
  gate.goAway('the gateway is stopping');
  gate.write(HEAD);
  expect(await got(GOODBYE)).toBe(`${HEAD}\x88\x19\x03\xe9${GOODBYE}`);
});

it('not opened, it is asked to go away: what is no WebSocket passes whole', async () => {
  const { gate, got } = await start();
  gate.goAway('the gateway is stopping');
  gate.write('HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n');
  gate.write('no');
  expect(await got('\r\n\r\nno')).not.toContain(GOODBYE);
});

it('pauses the client when nobody reads, and goes on', async () => {
  const { gate, client, socket } = await start();
  const size = 8 * 1024 * 1024;
  client.write(Buffer.alloc(size));
  while (!socket.isPaused()) await once(socket, 'data');
  expect(gate.bytesUp).toBeLessThan(size / 2);
  gate.resume();
  while (gate.bytesUp < size) await once(gate, 'data');
  expect(gate.bytesUp).toBe(size);
});

it('waits with a write until the client has room', async () => {
  const { gate, client } = await start();
  client.pause();
  let written = 0;
  const write = (): void => {
    gate.write(Buffer.alloc(1024 * 1024), () => {
      written++;
    });
  };
  for (let n = 0; n < 32; n++) write();
  await once(gate, 'drain', { signal: AbortSignal.timeout(200) }).catch(() => undefined);
  expect(written).toBeLessThan(32);
  client.resume();
  await once(gate, 'drain');
  expect(written).toBe(32);
});

it('released, it leaves the socket alone, whatever is done to it', async () => {
  const { gate, socket, client, got } = await start();
  gate.release();
  gate.write('from http-proxy-3');
  gate.destroySoon();
  await once(gate, 'finish');
  gate.destroy();
  expect([socket.writable, socket.destroyed]).toEqual([true, false]);
  socket.write('from somebody else');
  expect(await got('somebody else')).toBe('from somebody else');
  client.write('up');
  expect(String((await once(socket.resume(), 'data'))[0])).toBe('up');
});

it('is gone when the client is', async () => {
  const { gate, client } = await start();
  gate.resume();
  client.resetAndDestroy();
  await once(gate, 'close');
  expect(gate.destroyed).toBe(true);
});
