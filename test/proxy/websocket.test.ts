import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { closeFrame, createFrameTracker, Gate } from '../../src/proxy/websocket.ts';

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
const textFrame = (text: string): Buffer =>
  Buffer.from(`\x81${String.fromCharCode(text.length)}${text}`, 'latin1');
const GOODBYE = 'the gateway is stopping';

describe('a gate', () => {
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
    gate.write(textFrame('one'));
    await got('one');
    gate.goAway('the gateway is stopping');
    gate.goAway('the gateway is stopping');
    gate.write(textFrame('two'));
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
});

/** A frame (RFC 6455 §5.2) with a payload of so many bytes. */
function frame(length: number, masked: boolean, opcode = 2): Buffer {
  const wide = length > 65_535 ? 8 : length > 125 ? 2 : 0;
  const head = Buffer.alloc(2 + wide + (masked ? 4 : 0));
  head[0] = 0x80 | opcode;
  head[1] = (masked ? 0x80 : 0) | (wide === 8 ? 127 : wide === 2 ? 126 : length);
  if (wide === 2) head.writeUInt16BE(length, 2);
  if (wide === 8) head.writeBigUInt64BE(BigInt(length), 2);
  // Bytes that look like heads of frames, so that a tracker that lost its place is caught.
  return Buffer.concat([head, Buffer.alloc(length, 0x82)]);
}

const frames = fc.array(
  fc.record({
    length: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(125, 126, 65_535, 65_536)),
    masked: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

function* inPieces(bytes: Buffer, cuts: readonly number[]): Generator<Buffer> {
  let at = 0;
  for (let turn = 0; at < bytes.length; turn++) {
    const step = Math.max(1, cuts[turn % cuts.length] ?? 1);
    yield bytes.subarray(at, at + step);
    at += step;
  }
}

const cuts = fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1, maxLength: 8 });

describe('a frame tracker', () => {
  it('is at a boundary after whole frames only, however they are cut', () => {
    fc.assert(
      fc.property(frames, cuts, (list, sizes) => {
        const parts = list.map(({ length, masked }) => frame(length, masked));
        const ends = new Set<number>();
        let end = 0;
        for (const part of parts) {
          end += part.length;
          ends.add(end);
        }
        const tracker = createFrameTracker();
        let at = 0;
        for (const piece of inPieces(Buffer.concat(parts), sizes)) {
          at += tracker.read(piece, false);
          if (tracker.atBoundary() !== ends.has(at)) return false;
        }
        return at === end;
      }),
      { numRuns: 100 },
    );
  });

  it('told to stop, ends at the first boundary', () => {
    fc.assert(
      fc.property(frames, fc.nat(), (list, where) => {
        const parts = list.map(({ length, masked }) => frame(length, masked));
        const all = Buffer.concat(parts);
        const first = parts[0]?.length ?? 0;
        const before = where % first;
        const tracker = createFrameTracker();
        tracker.read(all.subarray(0, before), false);
        const rest = all.subarray(before);
        expect(tracker.read(rest, true)).toBe(before === 0 ? 0 : first - before);
      }),
      { numRuns: 200 },
    );
  });

  it('takes a length that no frame reaches as a frame without an end', () => {
    const tracker = createFrameTracker();
    tracker.read(Buffer.from([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]), false);
    expect(tracker.atBoundary()).toBe(false);
    expect(tracker.read(Buffer.alloc(1000), true)).toBe(1000);
  });
});

describe('a close frame', () => {
  it('is unmasked, and holds the code before the reason', () => {
    const bytes = closeFrame(1001, 'bye');
    // FIN and opcode 8; a length without a mask; the code in network order; the reason in UTF-8.
    expect([...bytes]).toEqual([0x88, 5, 0x03, 0xe9, ...Buffer.from('bye')]);
  });
});
