import { describe, expect, it, vi } from 'vitest';
import { createGatewayStages, type GatewayStage } from '../support/gateway-stage.ts';
import { KEYS, policyWith, snapshotOf } from '../support/policies.ts';
import { callRaw, callWith, requestBytes } from '../support/raw-caller.ts';
import { SWITCHED, upgradeBytes } from '../support/websocket.ts';

const stage = createGatewayStages();
const CHAT = 'POST /v1/chat/completions';

const at = ({ port }: GatewayStage, key: string) => ({ port, key });

/** Cuts what the leaked key has under way. */
const cutLeaked = ({ exchanges }: GatewayStage): number =>
  exchanges.cut(({ generation }) => generation === 'inference-1');

const outcomes = ({ records }: GatewayStage) =>
  records.map(({ generation, outcome }) => [generation, outcome]);

/** The leaked key and another one, each with an event stream under way. */
async function twoStreams(it: GatewayStage) {
  const open = async (key: string) => {
    const caller = await callWith(at(it, key), CHAT, { body: '{}' });
    const peer = await it.upstream.next();
    peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
    peer.chunk('data: one\n\n');
    await caller.until('data: one');
    return { caller, peer };
  };
  return { leaked: await open(KEYS.inference), other: await open(KEYS.full) };
}

describe('what a leaked key has under way is cut, and nothing else:', () => {
  it('event streams', async () => {
    const it = await stage();
    const { leaked, other } = await twoStreams(it);
    expect(it.exchanges.countOf('inference-1')).toBe(1);
    expect(cutLeaked(it)).toBe(1);
    await Promise.all([leaked.caller.ended, leaked.peer.gone]);
    // Visibly: no last chunk that would make it look whole.
    expect(leaked.caller.received.endsWith('0\r\n\r\n')).toBe(false);
    expect(it.exchanges.countOf('inference-1')).toBe(0);
    other.peer.chunk('data: two\n\n');
    await other.caller.until('data: two');
    expect(outcomes(it)).toEqual([['inference-1', 'cut']]);
    expect(it.records[0]).toMatchObject({ status: 200, websocket: false });
  });

  it('a stream to a client that reads nothing', async () => {
    const it = await stage();
    const caller = await callWith(at(it, KEYS.inference), CHAT, { body: '{}' });
    const peer = await it.upstream.next();
    peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
    await caller.until('\r\n\r\n');
    caller.socket.pause();
    const piece = Buffer.alloc(1024 * 1024, 'x');
    for (let sent = 0; sent < 64 && peer.chunk(piece); sent += 1);
    cutLeaked(it);
    expect(outcomes(it)).toEqual([['inference-1', 'cut']]);
    await peer.gone;
    caller.leave();
  });

  it('requests that wait for their answer, with their upload', async () => {
    const it = await stage();
    const uploading = await callWith(at(it, KEYS.inference), CHAT, {
      fields: ['content-length: 1000000'],
    });
    uploading.send('x'.repeat(1000));
    const upload = await it.upstream.next();
    await upload.bodyReaches(1000);
    const silent = await callWith(at(it, KEYS.inference), 'GET /v1/models');
    const asked = await it.upstream.next();
    expect(cutLeaked(it)).toBe(2);
    await Promise.all([uploading.ended, silent.ended, upload.gone, asked.gone]);
    expect(outcomes(it)).toEqual([
      ['inference-1', 'cut'],
      ['inference-1', 'cut'],
    ]);
    expect(it.records.map(({ status }) => status)).toEqual([0, 0]);
  });

  it('WebSockets, open and half open', async () => {
    const it = await stage();
    const upgrade = async (key: string) => {
      const caller = await callRaw(it.port);
      caller.send(upgradeBytes({ key }));
      return { caller, peer: await it.upstream.next() };
    };
    const open = await upgrade(KEYS.inference);
    const other = await upgrade(KEYS.full);
    for (const { caller, peer } of [open, other]) {
      peer.write(SWITCHED);
      await caller.until('\r\n\r\n');
    }
    const asked = await upgrade(KEYS.inference);
    expect(it.exchanges.countOf('inference-1')).toBe(2);
    expect(cutLeaked(it)).toBe(2);
    await Promise.all([open.caller.ended, asked.caller.ended, open.peer.gone, asked.peer.gone]);
    other.peer.write('\x81\x05still');
    await other.caller.until('still');
    await vi.waitFor(() => expect(it.records).toHaveLength(2));
    expect(it.records.map(({ status, outcome }) => [status, outcome]).sort()).toEqual([
      [0, 'cut'],
      [101, 'cut'],
    ]);
  });

  it('what waits for LiteLLM, though LiteLLM comes back that instant', async () => {
    const it = await stage();
    await it.upstream.stop();
    const held = await callWith(at(it, KEYS.inference), CHAT, { body: '{}' });
    const tunnel = await callRaw(it.port);
    tunnel.send(upgradeBytes({ key: KEYS.inference }));
    const other = await callWith(at(it, KEYS.full), CHAT, { body: '{"other":1}' });
    await vi.waitFor(() => expect(it.hold.size()).toBe(3));
    expect(cutLeaked(it)).toBe(2);
    await Promise.all([held.ended, tunnel.ended]);
    await it.upstream.start();
    const peer = await it.upstream.next();
    expect(String(await peer.body)).toBe('{"other":1}');
    peer.answer('200 OK', 'served');
    await other.until('served');
    expect(it.upstream.requests).toHaveLength(1);
    await vi.waitFor(() => expect(it.records).toHaveLength(3));
    expect(outcomes(it).sort()).toEqual([
      ['full-1', 'answered'],
      ['inference-1', 'cut'],
      ['inference-1', 'cut'],
    ]);
  });

  it('what is let go by the hold in the same turn as it is cut', async () => {
    const it = await stage();
    await it.upstream.stop();
    const held = await callWith(at(it, KEYS.inference), CHAT, { body: '{}' });
    const tunnel = await callRaw(it.port);
    tunnel.send(upgradeBytes({ key: KEYS.inference }));
    await vi.waitFor(() => expect(it.hold.size()).toBe(2));
    await it.upstream.start();
    vi.spyOn(it.hold, 'away').mockReturnValue(false);
    // As the hold does it: it takes all out, and releases one after the other.
    it.exchanges.cut((live) => {
      if (live.generation !== 'inference-1') return false;
      queueMicrotask(() => (live as unknown as { release(): void }).release());
      return true;
    });
    await Promise.all([held.ended, tunnel.ended]);
    const after = await callWith(at(it, KEYS.full), 'GET /v1/models');
    (await it.upstream.next()).answer('200 OK', 'served');
    await after.until('served');
    expect(it.upstream.requests).toHaveLength(1);
  });

  it("an answer that stands behind another key's on its connection", async () => {
    const it = await stage();
    const caller = await callRaw(it.port);
    caller.send(requestBytes(at(it, KEYS.full), CHAT, { body: '{"first":1}' }));
    const first = await it.upstream.next();
    caller.send(requestBytes(at(it, KEYS.inference), CHAT, { body: '{"second":1}' }));
    const second = await it.upstream.next();
    expect(cutLeaked(it)).toBe(1);
    expect(outcomes(it)).toEqual([['inference-1', 'cut']]);
    await second.gone;
    first.answer('200 OK', 'the first is whole');
    await caller.until('the first is whole');
    // And then nothing: the second has no answer that could follow.
    await caller.ended;
    await vi.waitFor(() => expect(it.records).toHaveLength(2));
    expect(outcomes(it)[1]).toEqual(['full-1', 'answered']);
  });
});

it('a request that comes with the cut is either cut or refused', async () => {
  const it = await stage();
  const callers = await Promise.all(Array.from({ length: 20 }, () => callRaw(it.port)));
  for (const caller of callers) {
    caller.send(requestBytes(at(it, KEYS.inference), CHAT, { body: '{}' }));
  }
  await vi.waitFor(() => expect(it.uses.length).toBeGreaterThan(0));
  it.policy.current = policyWith({
    admission: { ...policyWith().admission, keyring: snapshotOf([]) },
  });
  const cut = cutLeaked(it);
  await Promise.all(
    callers.map(async (caller) => {
      await caller.until('401 Unauthorized').catch(() => caller.ended);
    }),
  );
  await vi.waitFor(() => expect(it.records).toHaveLength(20));
  expect(it.records.filter(({ outcome }) => outcome === 'cut')).toHaveLength(cut);
  expect(it.records.filter(({ status }) => status === 401)).toHaveLength(20 - cut);
  expect(it.exchanges.count('all')).toBe(0);
});
