import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';
import { callWith } from '../support/raw-caller.ts';
import { startSidecar } from '../support/sidecar.ts';
import { createStages, settled } from '../support/stage.ts';

const stage = createStages();
const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

describe('back-pressure', () => {
  // What the kernel keeps for two pairs of sockets on the loopback is well below this.
  const most = 24 * MiB;

  it('a reader that stops: LiteLLM is paused, and goes on with it', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'GET /v1/files/f/content');
    const peer = await upstream.next();
    caller.socket.pause();
    const size = 64 * MiB;
    peer.head('200 OK', `content-length: ${size}`);
    for (let sent = 0; sent < size; sent += MiB) peer.write(Buffer.alloc(MiB, 'x'));
    const taken = await settled(() => size - peer.socket.writableLength);
    expect(taken).toBeLessThan(most);
    caller.socket.resume();
    await once(peer.socket, 'drain');
    while (caller.received.length < size) await once(caller.socket, 'data');
  });

  it('a LiteLLM that stops reading: the client is paused, and goes on with it', async () => {
    const { sidecar, upstream } = await stage();
    const size = 64 * MiB;
    const fields = [`content-length: ${size}`];
    const caller = await callWith(sidecar, 'POST /v1/files', { fields });
    caller.send(Buffer.alloc(MiB, 'x'));
    const peer = await upstream.next();
    peer.socket.pause();
    for (let sent = MiB; sent < size; sent += MiB) caller.send(Buffer.alloc(MiB, 'x'));
    const taken = await settled(() => size - caller.socket.writableLength);
    expect(taken).toBeLessThan(most);
    peer.socket.resume();
    await peer.bodyReaches(size);
    peer.answer('200 OK', 'all of it');
    await caller.until('all of it');
  });
});

/** A gibibyte that is never all there. */
function* gibibyte(): Generator<Buffer> {
  const chunk = Buffer.alloc(MiB, 'x');
  for (let sent = 0; sent < GiB; sent += chunk.length) yield chunk;
}

/** Counts what it takes, and looks at the memory of this process now and then. */
function createCounter() {
  const start = process.memoryUsage.rss();
  const seen = { bytes: 0, growth: 0 };
  let looks = 0;
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      seen.bytes += chunk.length;
      if (++looks % 100 === 0)
        seen.growth = Math.max(seen.growth, process.memoryUsage.rss() - start);
      done();
    },
  });
  return { seen, sink };
}

describe('a body of 1 GiB', { timeout: 120_000 }, () => {
  /** A LiteLLM that counts a body and answers with one. */
  async function startBulk() {
    const up = createCounter();
    const server = createServer((asked, answer) => {
      if (asked.method === 'POST') {
        void pipeline(asked, up.sink).then(() => answer.end(String(up.seen.bytes)));
      } else if (asked.url === '/v1/files/f/content') {
        answer.setHeader('content-length', GiB);
        void pipeline(Readable.from(gibibyte()), answer);
      } else answer.end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const sidecar = await startSidecar((server.address() as AddressInfo).port);
    const ask = (method: string, path: string) => {
      const headers = { authorization: `Bearer ${sidecar.key}` };
      return request({ port: sidecar.port, agent: false, method, path, headers });
    };
    const stop = async () => {
      await sidecar.stop();
      server.closeAllConnections();
      server.close();
    };
    return { up, ask, stop };
  }

  it('goes up whole, in flat memory', async () => {
    const { up, ask, stop } = await startBulk();
    const asked = ask('POST', '/v1/files');
    const answered = once(asked, 'response');
    await pipeline(Readable.from(gibibyte()), asked);
    const [answer] = await answered;
    answer.resume();
    expect(answer.statusCode).toBe(200);
    expect(up.seen.bytes).toBe(GiB);
    expect(up.seen.growth).toBeLessThan(100 * MiB);
    await stop();
  });

  it('comes down whole, in flat memory', async () => {
    const { ask, stop } = await startBulk();
    const asked = ask('GET', '/v1/files/f/content').end();
    const [answer] = await once(asked, 'response');
    const down = createCounter();
    await pipeline(answer, down.sink);
    expect(down.seen.bytes).toBe(GiB);
    expect(down.seen.growth).toBeLessThan(100 * MiB);
    await stop();
  });
});
