import { describe, expect, it } from 'vitest';
import { callRaw } from '../support/raw-caller.ts';
import { createStages, eventually } from '../support/stage.ts';
import {
  accept,
  closed,
  opened,
  openWebSocket,
  SWITCHED,
  upgradeBytes,
} from '../support/websocket.ts';

const stage = createStages();
const settings = { SIDECAR_DRAIN: '20s' };

/** A frame of text from a server, without a mask. */
const frame = (text: string, final = true, opcode = 1): string =>
  `${String.fromCharCode((final ? 0x80 : 0) | opcode, text.length)}${text}`;
const CLOSE_1001 = '\x03\xe9the gateway is stopping';

/** A WebSocket on bare sockets at both ends. */
async function openRaw() {
  const { sidecar, upstream } = await stage({ settings });
  const caller = await callRaw(sidecar.port);
  caller.send(upgradeBytes(sidecar));
  const peer = await upstream.next();
  peer.write(SWITCHED);
  const head = await caller.until('\r\n\r\n');
  const frames = (): string => caller.received.slice(head.length);
  const say = (text: string) => peer.write(Buffer.from(text, 'latin1'));
  return { sidecar, caller, peer, frames, say };
}

describe('at a drain a WebSocket', () => {
  it('gets a 1001 close frame, and LiteLLM the answer to it', async () => {
    const { sidecar, upstream } = await stage({ settings });
    const client = openWebSocket(sidecar);
    const server = await accept(await upstream.next());
    await opened(client);
    const ends = Promise.all([closed(client), closed(server)]);
    const drained = sidecar.drain();
    const [atClient, atServer] = await ends;
    expect(atClient).toEqual({ code: 1001, reason: 'the gateway is stopping' });
    expect(atServer.code).toBe(1001);
    await drained;
  });

  it('in the middle of a frame: it is finished first, and nothing follows the close', async () => {
    const { sidecar, caller, peer, frames, say } = await openRaw();
    const big = frame('x'.repeat(100));
    say(big.slice(0, 40));
    await caller.until('x'.repeat(38));
    const drained = sidecar.drain();
    await eventually(() => (sidecar.logText().includes('are finished') ? true : undefined));
    expect(frames()).toBe(big.slice(0, 40));
    say(big.slice(40) + frame('one frame too many'));
    await caller.until(CLOSE_1001);
    say(frame('and another'));
    caller.socket.end();
    await peer.gone;
    peer.socket.end();
    await drained;
    expect(frames()).toBe(`${big}\x88\x19${CLOSE_1001}`);
  });

  it('in a fragmented message: the close stands between two fragments', async () => {
    const { sidecar, caller, peer, frames, say } = await openRaw();
    const first = frame('first', false);
    say(first + frame('second', false, 0).slice(0, 3));
    await caller.until('first\x00\x06s');
    const drained = sidecar.drain();
    await eventually(() => (sidecar.logText().includes('are finished') ? true : undefined));
    say(frame('second', false, 0).slice(3) + frame('third', true, 0));
    await caller.until(CLOSE_1001);
    expect(frames().startsWith('\x01\x05first\x00\x06second\x88')).toBe(true);
    caller.socket.end();
    await peer.gone;
    peer.socket.end();
    await drained;
  });

  it('that opens in the middle of the drain is told at once', async () => {
    const { sidecar, upstream } = await stage({ settings });
    const client = openWebSocket(sidecar);
    const peer = await upstream.next();
    const drained = sidecar.drain();
    await eventually(() => (sidecar.logText().includes('are finished') ? true : undefined));
    const heard = closed(client);
    void accept(peer);
    expect((await heard).code).toBe(1001);
    await drained;
  });

  it('that takes no notice is cut at the deadline', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_DRAIN: '50ms' } });
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    const peer = await upstream.next();
    peer.write(SWITCHED);
    await caller.until('\r\n\r\n');
    await Promise.all([sidecar.drain(), caller.ended, peer.gone]);
    expect(sidecar.accessLines()).toMatchObject([{ status: 101, outcome: 'cut' }]);
  });

  it('is asked for in vain: nobody listens any more', async () => {
    const { sidecar, upstream } = await stage({ settings });
    const client = openWebSocket(sidecar);
    await accept(await upstream.next());
    await opened(client);
    client.pause();
    const drained = sidecar.drain();
    await eventually(() => (sidecar.logText().includes('are finished') ? true : undefined));
    await expect(opened(openWebSocket(sidecar))).rejects.toThrow('ECONNREFUSED');
    client.resume();
    await drained;
    expect(upstream.requests).toHaveLength(1);
  });
});
