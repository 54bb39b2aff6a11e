import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { createAdminApi } from '../../../src/servers/admin/api.ts';
import { createLiveStream, type LiveEvent } from '../../../src/servers/admin/live.ts';
import { createLiveRecorder } from '../../../src/usage/live.ts';
import { exchange } from '../../usage/live-exchange.ts';
import { ask, CONFIG, fakeAdmin, fakeAudit, fakeUpstream, fakeUsage, LIVE } from '../fake-admin.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

const start = async () => {
  const recorder = createLiveRecorder(systemClock);
  const rest = vi.fn(recorder.rest);
  const live = createLiveStream({ ...recorder, rest, read: () => LIVE });
  const parts = { admin: fakeAdmin(), upstream: fakeUpstream(), audit: fakeAudit() };
  const onError = vi.fn();
  const api = createAdminApi({
    ...parts,
    ...{ usage: fakeUsage(), live, settings: () => CONFIG, onError },
  });
  const server = createServer((request, response) => api.handle(request, response, 'api:x'));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { api, recorder, rest, onError, server, port: (server.address() as AddressInfo).port };
};

/** Looks until `close`; `next` resolves to one event after the other. */
const watch = async (port: number) => {
  const path = '/api/live';
  const request = httpRequest({ host: '127.0.0.1', port, path, agent: false }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const events = eventsOf(response);
  return {
    response,
    next: async (): Promise<LiveEvent> => {
      const { value, done } = await events.next();
      if (done === true) throw new Error('the stream has ended');
      return value;
    },
    ended: async () => (await events.next()).done,
    rest: events,
    close: () => request.destroy(),
  };
};

async function* eventsOf(response: IncomingMessage): AsyncGenerator<LiveEvent, undefined> {
  let rest = '';
  for await (const chunk of response) {
    const blocks = `${rest}${chunk}`.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) yield JSON.parse(block.replace(/^data: /, ''));
  }
  return undefined;
}

const sumOf = (events: readonly LiveEvent[]): number =>
  events
    .flatMap(({ history = [], second }) => [...history, second])
    .reduce((sum, { requests }) => sum + requests, 0);

describe('GET /api/live', () => {
  it('tells at once of the 15 minutes before, and then each second', async () => {
    const { recorder, port } = await start();
    recorder.add(exchange({ client: 'ci' }));
    const page = await watch(port);
    expect(page.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
    });
    const { history, second, ...rest } = await page.next();
    expect(rest).toEqual(LIVE);
    expect(history).toMatchObject([{ requests: 1, byClient: { ci: { requests: 1 } } }]);
    expect(second).toMatchObject({ requests: 0 });
    recorder.add(exchange({ client: 'app' }));
    const next = await page.next();
    expect(next.history).toBeUndefined();
    expect(next.second).toMatchObject({ requests: 1, byClient: { app: { requests: 1 } } });
    expect(next.second.ms).toBeGreaterThan(500);
    expect(next.second.ms).toBeLessThan(5000);
    expect((await page.next()).second.requests).toBe(0);
    page.close();
  });

  it('tells nobody of a request twice, however many look', async () => {
    const { recorder, port } = await start();
    const pages = [await watch(port)];
    const told = [0, 0, 0];
    const count = (at: number, event: LiveEvent): void => {
      told[at] = (told[at] ?? 0) + sumOf([event]);
    };
    count(0, (await pages[0]?.next()) as LiveEvent);
    for (const at of [1, 2]) {
      recorder.add(exchange({}));
      const page = await watch(port);
      pages.push(page);
      count(at, await page.next());
    }
    recorder.add(exchange({}));
    for (const [at, page] of pages.entries()) {
      while ((told[at] ?? 0) < 3) count(at, await page.next());
      count(at, await page.next());
      page.close();
    }
    expect(told).toEqual([3, 3, 3]);
  });

  it('costs nothing any more when the last reader has left', async () => {
    const { rest, recorder, port } = await start();
    const [one, other] = [await watch(port), await watch(port)];
    await Promise.all([one.next(), other.next()]);
    one.close();
    await other.next();
    expect(rest).not.toHaveBeenCalled();
    other.close();
    await vi.waitFor(() => expect(rest).toHaveBeenCalledOnce());
    recorder.add(exchange({}));
    const later = await watch(port);
    expect((await later.next()).second).toMatchObject({ requests: 0 });
    later.close();
  });

  it('ends the stream of who does not read, who misses no second, and tells the others', async () => {
    const { recorder, port, server } = await start();
    const sockets: { writableLength: number }[] = [];
    server.on('connection', (socket) => sockets.push(socket));
    const names = Array.from({ length: 100 }, (_, at) => `model-${at}-${'x'.repeat(190)}`);
    for (const model of names) recorder.add(exchange({ model }));
    const lazy = await watch(port);
    lazy.response.pause();
    let told = 100;
    const eager = await watch(port);
    await eager.next();
    let most = 0;
    // Each page that comes has all of them told, of which each event has some 40 KiB.
    for (let at = 0; at < 12; at++) {
      for (let times = 0; times < 30; times++) {
        for (const model of names) recorder.add(exchange({ model }));
        told += 100;
        const page = await watch(port);
        page.close();
      }
      most = Math.max(...sockets.map(({ writableLength }) => writableLength));
    }
    expect(most).toBeLessThan(2 * 1024 * 1024);
    await eager.next();
    // It reads all that was sent, and then that there is no more.
    const events = [await lazy.next()];
    for await (const event of lazy.rest) events.push(event);
    expect(sumOf(events)).toBeLessThan(told);
    const again = await watch(port);
    expect(sumOf([await again.next()])).toBe(told);
    for (const page of [again, eager]) page.close();
  }, 30_000);

  it('has 16 readers at most, and room again when one leaves', async () => {
    const { port } = await start();
    const pages = await Promise.all(Array.from({ length: 16 }, () => watch(port)));
    const { status, json } = await ask({ port }, 'GET /api/live');
    expect([status, json['code']]).toEqual([429, 'too_many_watchers']);
    pages[0]?.close();
    await vi.waitFor(async () => {
      const page = await watch(port);
      page.close();
      expect(page.response.statusCode).toBe(200);
    });
    for (const page of pages) page.close();
  });

  it('ends when the sidecar stops, which refuses what is asked from then on', async () => {
    const { api, port } = await start();
    const page = await watch(port);
    await page.next();
    api.stop();
    expect(await page.ended()).toBe(true);
    for (const route of ['GET /api/live', 'POST /api/clients/ci/rotate']) {
      const { status, json, headers } = await ask({ port }, route);
      expect([status, json['code'], headers['retry-after']]).toEqual([503, 'stopping', '5']);
    }
  });

  it('has a head, and takes no parameter', async () => {
    const { port } = await start();
    const head = await ask({ port }, 'HEAD /api/live');
    expect([head.status, head.headers['content-type']]).toEqual([
      200,
      'text/event-stream; charset=utf-8',
    ]);
    const { status, json } = await ask({ port }, 'GET /api/live?since=1');
    expect([status, json['code']]).toEqual([400, 'bad_request']);
  });
});
