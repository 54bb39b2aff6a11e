import { once } from 'node:events';
import { Agent } from 'node:http';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ask, bodyOf } from '../support/ask.ts';
import type { Script } from '../support/fake-upstream.ts';
import { eventually } from '../support/stage.ts';
import { createTwoSlots } from '../support/two-slots.ts';

const twoSlots = createTwoSlots();
const CLIENTS = 16;
const SWITCHES = 300;

/** Answers with its own name, the key it was shown, and the whole body. */
const echo =
  (name: string): Script =>
  async (peer) => {
    const body = await peer.body;
    peer.head('200 OK', 'transfer-encoding: chunked', `x-slot: ${name}`);
    peer.chunk(`${name} ${peer.values('authorization').join()} ${peer.values('host').join()}\n`);
    if (body.length > 0) peer.chunk(body);
    peer.write('0\r\n\r\n');
  };

it('some hundred switches under 16 clients: nobody fails, and each key stays with its slot', async () => {
  const { sidecar, a, b, keys, switchTo } = await twoSlots({
    script: { a: echo('a'), b: echo('b') },
  });
  const says = {
    a: `a Bearer ${keys.a} 127.0.0.1:${a.port}\n`,
    b: `b Bearer ${keys.b} 127.0.0.1:${b.port}\n`,
  };
  const [bodies = []] = fc.sample(
    fc.array(fc.uint8Array({ maxLength: 20_000 }), { minLength: 200, maxLength: 200 }),
    1,
  );
  const served = { a: 0, b: 0 };
  let over = false;
  const loop = async (client: number): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let turn = 0; !over; turn++) {
      const body = bodies[(client * 31 + turn) % bodies.length] ?? new Uint8Array();
      const chunked = turn % 3 === 0;
      const asked = ask(sidecar, {
        agent,
        method: 'POST',
        path: '/v1/chat/completions',
        headers: chunked ? {} : { 'content-length': body.length },
      });
      if (chunked) {
        asked.request.write(body.subarray(0, body.length / 2));
        await new Promise(setImmediate);
        asked.request.end(body.subarray(body.length / 2));
      } else {
        asked.request.end(body);
      }
      const response = await asked.answer;
      expect(response.statusCode).toBe(200);
      const slot = response.headers['x-slot'] === 'a' ? 'a' : 'b';
      const expected = Buffer.concat([Buffer.from(says[slot]), body]);
      expect((await bodyOf(response)).equals(expected)).toBe(true);
      served[slot]++;
    }
    agent.destroy();
  };
  const clients = Array.from({ length: CLIENTS }, (_, client) => loop(client));
  const failed = Promise.all(clients).then(() => undefined);
  failed.catch(() => undefined);
  let active: 'a' | 'b' = 'a';
  for (let turn = 0; turn < SWITCHES; turn++) {
    const left = active;
    active = active === 'a' ? 'b' : 'a';
    switchTo(active);
    const before = served.a + served.b;
    await Promise.race([
      failed,
      eventually(() => (served.a + served.b > before + 3 ? true : undefined)),
    ]);
    // Now and then the old one is drained and ended, as a handover does.
    if (turn % 20 !== 0) continue;
    await eventually(() => (sidecar.upstreams.load(left).requests === 0 ? true : undefined));
    expect(await sidecar.upstreams.end(left)).toBe(0);
  }
  over = true;
  await failed;
  expect(served.a).toBeGreaterThan(SWITCHES);
  expect(served.b).toBeGreaterThan(SWITCHES);
  const lines = sidecar.accessLines();
  expect(lines.every(({ status, outcome }) => status === 200 && outcome === undefined)).toBe(true);
  for (const slot of ['a', 'b'] as const) {
    expect(lines.filter((line) => line['slot'] === slot)).toHaveLength(served[slot]);
  }
}, 60_000);

it('a switch in each moment of a request: it is answered by one of them, with its key', async () => {
  const { sidecar, keys, switchTo } = await twoSlots({
    script: { a: echo('a'), b: echo('b') },
    settings: { SIDECAR_HOLD: '30s' },
  });
  let active: 'a' | 'b' = 'a';
  const turnOver = (): void => {
    active = active === 'a' ? 'b' : 'a';
    switchTo(active);
  };
  const moments = ['before', 'head', 'body', 'end'] as const;
  await fc.assert(
    fc.asyncProperty(
      fc.subarray([...moments], { minLength: 1 }),
      fc.uint8Array({ minLength: 1, maxLength: 5000 }),
      async (at, body) => {
        const pass = async (moment: (typeof moments)[number]): Promise<void> => {
          if (at.includes(moment)) turnOver();
          await new Promise(setImmediate);
        };
        await pass('before');
        const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions' });
        asked.request.flushHeaders();
        await once(asked.request, 'socket');
        await pass('head');
        asked.request.write(body);
        await pass('body');
        asked.request.end();
        await pass('end');
        const response = await asked.answer;
        const text = (await bodyOf(response)).toString('latin1');
        const slot = response.headers['x-slot'] === 'a' ? 'a' : 'b';
        expect(text.startsWith(`${slot} Bearer ${keys[slot]} `)).toBe(true);
        expect(text.endsWith(Buffer.from(body).toString('latin1'))).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);
