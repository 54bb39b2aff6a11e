import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { discardRest } from '../../src/proxy/client-connection.ts';
import { createReceiver } from '../support/received.ts';

const receiveAny = createReceiver();
const receive = () => receiveAny('transfer-encoding: chunked');
afterEach(() => {
  vi.useRealTimers();
});

const rest = (request: IncomingMessage) => {
  const done = vi.fn();
  const over = new Promise<boolean>((resolve) => {
    discardRest(request, (ended) => {
      done();
      resolve(ended);
    });
  });
  return { over, done };
};

describe('the rest of a body nobody wants', () => {
  it('is read to its end', async () => {
    const { request, client } = await receive();
    const { over, done } = rest(request);
    client.write('4\r\nrest\r\n0\r\n\r\n');
    expect(await over).toBe(true);
    client.destroy();
    await once(request.socket, 'close');
    expect(done).toHaveBeenCalledTimes(1);
  });

  it('is given up on after 64 MiB', async () => {
    const { request, client } = await receive();
    // Of the two limits only the one of size can be met.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { over } = rest(request);
    const chunk = `100000\r\n${'x'.repeat(0x10_0000)}\r\n`;
    for (let n = 0; n < 65; n++) client.write(chunk);
    expect(await over).toBe(false);
    expect(request.destroyed).toBe(false);
  });

  it('is given up on after five seconds, however it trickles', async () => {
    const { request, client } = await receive();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { over, done } = rest(request);
    client.write('1\r\nx\r\n');
    await once(request, 'data');
    vi.advanceTimersByTime(4999);
    expect(done).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(await over).toBe(false);
  });

  it('ends with the client', async () => {
    const { request, client } = await receive();
    const { over } = rest(request);
    client.destroy();
    expect(await over).toBe(false);
  });

  it('was read or destroyed before: that is told at once', async () => {
    const { request, client } = await receive();
    client.write('0\r\n\r\n');
    await once(request.resume(), 'end');
    expect(await rest(request).over).toBe(true);
    const other = await receive();
    other.request.destroy();
    expect(await rest(other.request).over).toBe(false);
  });
});
