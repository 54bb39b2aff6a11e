import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { callRaw, callWith, requestBytes } from '../support/raw-caller.ts';
import { answerAt, conversation } from '../support/raw-client.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages, eventually } from '../support/stage.ts';
import { SWITCHED, upgradeBytes } from '../support/websocket.ts';

const stage = createStages();
const GET = 'GET /v1/models';

const saying = (sidecar: Sidecar, words: string) =>
  eventually(() => (sidecar.logText().includes(words) ? true : undefined));
const SERVING_ON = 'serving on until load balancers';
const FINISHING = 'those under way are finished';

describe('while load balancers are told', () => {
  it('each answer ends its connection: LiteLLM’s, a refusal, of health, and one under way', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_DRAIN_DELAY: '500ms' } });
    const under = await callWith(sidecar, GET);
    const before = await upstream.next();
    const kept = await callWith(sidecar, 'GET /health/liveliness');
    expect((await answerAt(kept, 0)).field('connection')).toBe('keep-alive');
    const drained = sidecar.drain();
    await saying(sidecar, SERVING_ON);
    const late = await callWith(sidecar, GET);
    const after = await upstream.next();
    for (const peer of [before, after]) peer.answer('200 OK', 'whole');
    const refused = await callWith({ ...sidecar, key: 'sk-wrong' }, GET);
    kept.send(requestBytes(sidecar, 'GET /health/liveliness'));
    for (const [caller, status] of [
      [under, 200],
      [late, 200],
      [refused, 401],
      [kept, 200],
    ] as const) {
      const { answers, ended } = await conversation(caller);
      expect([answers.at(-1)?.status, answers.at(-1)?.field('connection'), ended]).toEqual([
        ...[status, 'close', 'end'],
      ]);
    }
    await drained;
  });

  it('a client that does not wait for answers gets both, and the second ends it', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_DRAIN_DELAY: '300ms' } });
    const drained = sidecar.drain();
    await saying(sidecar, SERVING_ON);
    const caller = await callRaw(sidecar.port);
    caller.send(requestBytes(sidecar, GET) + requestBytes(sidecar, GET));
    for (const peer of [await upstream.next(), await upstream.next()]) peer.answer('200 OK', 'a');
    const { answers, ended } = await conversation(caller);
    expect(answers.map((answer) => answer.field('connection'))).toEqual(['keep-alive', 'close']);
    expect(ended).toBe('end');
    await drained;
  });

  it('nothing is served behind the answer that ends the connection', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_DRAIN_DELAY: '300ms' } });
    const drained = sidecar.drain();
    await saying(sidecar, SERVING_ON);
    const caller = await callWith(sidecar, GET);
    const peer = await upstream.next();
    peer.head('200 OK', 'content-length: 4');
    peer.write('so');
    await caller.until('so');
    caller.send(requestBytes(sidecar, GET));
    await callWith(sidecar, 'GET /health/liveliness').then(conversation);
    peer.write('on');
    await caller.until('soon');
    await drained;
    expect(upstream.requests).toHaveLength(1);
  });
});

describe('after that', () => {
  it('a connection that is idle ends in order, and one that is used is answered first', async () => {
    const { sidecar } = await stage({ script: (peer) => peer.answer('200 OK', 'served') });
    const [idle, used] = [await callWith(sidecar, GET), await callWith(sidecar, GET)];
    await Promise.all([idle.until('served'), used.until('served')]);
    const drained = sidecar.drain();
    await saying(sidecar, FINISHING);
    used.send(requestBytes(sidecar, GET));
    const { answers, ended } = await conversation(used);
    expect(answers[1]?.field('x-sidecar-refusal')).toBe('draining');
    expect(answers[1]?.field('connection')).toBe('close');
    expect([ended, await idle.ended]).toEqual(['end', 'end']);
    await drained;
  });

  it('a WebSocket is not taken for an idle connection', async () => {
    const { sidecar, upstream } = await stage({ settings: { SIDECAR_DRAIN: '5s' } });
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    const peer = await upstream.next();
    peer.write(SWITCHED);
    await caller.until('\r\n\r\n');
    const idle = await callWith(sidecar, 'GET /health/liveliness');
    await idle.until('alive');
    const drained = sidecar.drain();
    await caller.until('the gateway is stopping');
    expect(await idle.ended).toBe('end');
    expect(await Promise.race([caller.ended, 'open'])).toBe('open');
    peer.socket.end();
    expect(await caller.ended).toBe('end');
    await drained;
  });

  it('hardly one of a hundred clients that connect again and again is reset', async () => {
    const { sidecar } = await stage({
      script: (peer) => peer.answer('200 OK', 'served'),
      settings: { SIDECAR_DRAIN_DELAY: '300ms' },
    });
    const ends: string[] = [];
    const clients = Array.from({ length: 96 }, () => hammer(sidecar, (how) => ends.push(how)));
    await saying(sidecar, '"status":200');
    await sidecar.drain();
    await Promise.all(clients);
    // One may have connected in the moment in which the listener closed.
    expect(ends.filter((how) => how !== 'refused').length).toBeLessThan(4);
    expect(ends.filter((how) => how === 'refused')).toHaveLength(96);
  });
});

/** Asks again and again, on one connection as long as that is kept, until nobody listens. */
async function hammer(sidecar: Sidecar, tell: (how: string) => void): Promise<void> {
  for (;;) {
    const how = await askOn(sidecar);
    if (how !== 'answered') tell(how);
    if (how === 'refused') return;
  }
}

function askOn(sidecar: Sidecar): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(sidecar.port, '127.0.0.1');
    let text = '';
    const ask = (): void => {
      text = '';
      socket.write(requestBytes(sidecar, GET));
    };
    socket.on('connect', ask).on('data', (chunk) => {
      text += String(chunk);
      if (!/served$|draining.*\}$/s.test(text)) return;
      if (!/connection: close/i.test(text)) ask();
      else resolve('answered');
    });
    socket.on('error', (error) => {
      resolve('code' in error && error.code === 'ECONNREFUSED' ? 'refused' : 'reset');
    });
    socket.on('end', () => resolve('ended'));
  });
}
