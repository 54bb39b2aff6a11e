import 'undici'; // Its index adds `request` to the client, which these tests ask with.
import { afterEach, expect, it } from 'vitest';
import { type Connection, createConnections } from '../../src/proxy/connections.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start() {
  const upstream = await startFakeUpstream((peer) => peer.answer('200 OK', 'a'));
  ends.push(upstream.stop);
  const clock = { now: 5000 };
  const connections = createConnections({
    ...{ origin: upstream.url, connectTimeoutMs: 1000 },
    elapsed: () => clock.now,
  });
  ends.push(connections.destroy);
  return { upstream, connections, clock };
}

const use = async ({ client }: Connection): Promise<void> => {
  const { body } = await client.request({ method: 'GET', path: '/' });
  await body.dump();
};

const gone = (connection: Connection): Promise<void> =>
  new Promise((resolve) => {
    connection.client.once('disconnect', () => resolve());
  });

it('takes the youngest idle one, and knows that it is used again', async () => {
  const { upstream, connections } = await start();
  const [first, second] = [connections.take(), connections.take()];
  expect(first).not.toBe(second);
  for (const each of [first, second]) {
    await use(each);
    connections.give(each);
  }
  const third = connections.take();
  expect(third).toBe(second);
  expect(third.reused).toBe(true);
  connections.give(third);
  expect(connections.take()).toBe(second);
  expect(connections.take()).toBe(first);
  expect(upstream.connections()).toBe(2);
});

it('takes the oldest once that was idle for half of what it may be', async () => {
  const { connections, clock } = await start();
  const [first, second, third] = [connections.take(), connections.take(), connections.take()];
  await Promise.all([first, second, third].map(use));
  connections.give(first);
  clock.now += 100;
  connections.give(second);
  connections.give(third);
  clock.now += 399;
  expect(connections.take()).toBe(third);
  connections.give(third);
  clock.now += 1;
  expect(connections.take()).toBe(first);
  connections.give(first);
  expect(connections.take()).toBe(first);
  clock.now += 100;
  expect(connections.take()).toBe(second);
});

it('of many idle ones leaves the oldest to close', async () => {
  const { connections, clock } = await start();
  const all = Array.from({ length: 70 }, () => connections.take());
  await Promise.all(all.map(use));
  for (const each of all) connections.give(each);
  clock.now += 500;
  for (let turn = 0; turn < 2; turn += 1) {
    for (const each of all.slice(6)) {
      const next = connections.take();
      expect(next).toBe(each);
      connections.give(next);
    }
    clock.now += 500;
  }
  const left = all.map(() => connections.take());
  expect(new Set(left)).toEqual(new Set(all));
});

it('a fresh one was never used, though idle ones are there', async () => {
  const { connections } = await start();
  const first = connections.take();
  await use(first);
  connections.give(first);
  const fresh = connections.takeFresh();
  expect(fresh).not.toBe(first);
  expect(fresh.reused).toBe(false);
  expect(fresh.socket).toBeUndefined();
});

it('one whose socket is gone is not used again, whether idle or given back later', async () => {
  const { upstream, connections } = await start();
  const [idle, busy] = [connections.take(), connections.take()];
  await use(idle);
  await use(busy);
  connections.give(idle);
  const both = Promise.all([gone(idle), gone(busy)]);
  for (const { socket } of upstream.requests) socket.resetAndDestroy();
  await both;
  connections.give(busy);
  expect([idle.dead, busy.dead]).toEqual([true, true]);
  const next = connections.take();
  expect([idle, busy]).not.toContain(next);
  expect(next.reused).toBe(false);
});

it('forgets the dead among many idle ones, and keeps the living', async () => {
  const { upstream, connections } = await start();
  const all = Array.from({ length: 100 }, () => connections.take());
  await Promise.all(all.map(use));
  for (const each of all) connections.give(each);
  const kept = new Set([0, 50, 99].map((at) => all[at]));
  const dying = all.filter((each) => !kept.has(each));
  const goings = dying.map(gone);
  cutAllBut(upstream, kept);
  await Promise.all(goings);
  const taken = [connections.take(), connections.take(), connections.take()];
  expect(new Set(taken)).toEqual(kept);
  expect(connections.take().reused).toBe(false);
});

function cutAllBut(upstream: FakeUpstream, kept: ReadonlySet<Connection | undefined>): void {
  const ports = new Set([...kept].map((each) => each?.socket?.localPort));
  for (const { socket } of upstream.requests) {
    if (!ports.has(socket.remotePort)) socket.resetAndDestroy();
  }
}

it('destroyed, lets all go', async () => {
  const { upstream, connections } = await start();
  const [first, second] = [connections.take(), connections.take()];
  await use(first);
  await use(second);
  connections.give(first);
  connections.destroy();
  for (const peer of upstream.requests) await peer.gone;
  expect([first.dead, second.dead]).toEqual([true, true]);
});
