import { describe, expect, it, onTestFinished } from 'vitest';
import { ask, get } from '../support/ask.ts';
import type { FakeUpstream } from '../support/fake-upstream.ts';
import { callRaw, callWith, type RawCaller, requestBytes } from '../support/raw-caller.ts';
import { serveBeforeFake } from '../support/serve-process.ts';

/** An event stream that has begun. */
async function beginStream(sidecar: { port: number; key: string }, upstream: FakeUpstream) {
  const caller = await callRaw(sidecar.port);
  caller.send(requestBytes(sidecar, 'POST /v1/chat/completions', { body: '{"stream":true}' }));
  const peer = await upstream.next();
  peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
  peer.chunk('data: first\n\n');
  await caller.until('data: first');
  return { caller, peer };
}

const statusOf = async (port: number, path: string): Promise<number> =>
  (await fetch(`http://127.0.0.1:${port}${path}`)).status;

describe('SIGTERM', () => {
  it('with ten streams in flight: all end whole, and new ones are served; exit code 0', async () => {
    const { upstream, process, sidecar } = await serveBeforeFake({
      SIDECAR_DRAIN_DELAY: '3s',
      SIDECAR_DRAIN: '30s',
    });
    const streams: Awaited<ReturnType<typeof beginStream>>[] = [];
    for (let n = 0; n < 10; n++) streams.push(await beginStream(sidecar, upstream));
    const kept = await callWith(sidecar, 'GET /health/liveliness');
    await kept.until('alive');
    process.signal('SIGTERM');
    await process.says(/serving on until load balancers/);
    expect(await statusOf(sidecar.opsPort, '/readyz')).toBe(503);
    expect(await statusOf(sidecar.port, '/health/readiness')).toBe(503);
    expect(await statusOf(sidecar.port, '/health/liveliness')).toBe(200);
    const late = get(sidecar);
    (await upstream.next()).answer('200 OK', 'served late');
    expect((await late).text).toBe('served late');

    await process.says(/those under way are finished/);
    await expect(callRaw(sidecar.port)).rejects.toThrow('ECONNREFUSED');
    expect(await statusOf(sidecar.opsPort, '/readyz')).toBe(503);
    for (const { peer } of streams) {
      peer.chunk('data: last\n\n');
      peer.write('0\r\n\r\n');
    }
    for (const { caller } of streams) {
      const text = await caller.until('\r\n0\r\n\r\n');
      expect(text).toContain('data: last');
    }
    expect(await process.ended).toBe(0);
    expect(process.stderr()).toContain('"msg":"stopped"');
    expect(process.stderr().match(/"msg":"request"/g)).toHaveLength(14);
  });

  it('refuses a request on a connection that was there, as draining, and closes it', async () => {
    const { upstream, process, sidecar } = await serveBeforeFake({
      SIDECAR_DRAIN_DELAY: '0',
      SIDECAR_DRAIN: '30s',
    });
    const { caller, peer } = await beginStream(sidecar, upstream);
    // One whose head keeps coming is no idle connection.
    const halfway = await callRaw(sidecar.port);
    halfway.send(`${requestBytes(sidecar, 'GET /v1/models').slice(0, -2)}x-long: `);
    const more = setInterval(() => halfway.send('x'), 20);
    onTestFinished(() => clearInterval(more));
    await afterARead(sidecar);
    process.signal('SIGTERM');
    await process.says(/those under way are finished/);
    clearInterval(more);
    halfway.send('\r\n\r\n');
    await refusedAsDraining(halfway);
    peer.write('0\r\n\r\n');
    await caller.until('\r\n0\r\n\r\n');
    expect(await process.ended).toBe(0);
  });

  it('and what is not over at the deadline is cut, visibly; exit code 0', async () => {
    const { upstream, process, sidecar } = await serveBeforeFake({
      SIDECAR_DRAIN_DELAY: '0',
      SIDECAR_DRAIN: '50ms',
    });
    const { caller, peer } = await beginStream(sidecar, upstream);
    process.signal('SIGTERM');
    await Promise.all([caller.ended, peer.gone]);
    expect(caller.received).not.toContain('0\r\n\r\n');
    expect(await process.ended).toBe(0);
    expect(process.stderr()).toContain('"outcome":"cut"');
    expect(process.stderr()).toContain('SIDECAR_DRAIN is over');
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('and then %s: it ends at once', async (second) => {
    const { upstream, process, sidecar } = await serveBeforeFake({
      SIDECAR_DRAIN_DELAY: '0',
      SIDECAR_DRAIN: '30s',
    });
    const { caller, peer } = await beginStream(sidecar, upstream);
    process.signal('SIGTERM');
    await process.says(/those under way are finished/);
    process.signal(second);
    expect(await process.ended).toBe(1);
    await Promise.all([caller.ended, peer.gone]);
    expect(caller.received).not.toContain('0\r\n\r\n');
  });

  it('and then another: no client of HTTP/1.0 takes its part for the whole', async () => {
    const { upstream, process, sidecar } = await serveBeforeFake({
      SIDECAR_DRAIN_DELAY: '0',
      SIDECAR_DRAIN: '30s',
    });
    const caller = await callRaw(sidecar.port);
    caller.send(requestBytes(sidecar, 'GET /v1/models').replace('HTTP/1.1', 'HTTP/1.0'));
    const peer = await upstream.next();
    peer.head('200 OK', 'transfer-encoding: chunked');
    peer.chunk('first');
    await caller.until('first');
    process.signal('SIGTERM');
    await process.says(/those under way are finished/);
    process.signal('SIGTERM');
    expect(await caller.ended).toBe('reset');
    expect(await process.ended).toBe(1);
    expect(process.stderr()).toContain('"outcome":"cut"');
  });

  it('in the delay, and then another: it ends at once', async () => {
    const { process } = await serveBeforeFake({ SIDECAR_DRAIN_DELAY: '30s' });
    process.signal('SIGTERM');
    await process.says(/serving on until load balancers/);
    process.signal('SIGTERM');
    expect(await process.ended).toBe(1);
  });

  it('with nothing to do: exit code 0, and every line is written', async () => {
    const { upstream, process, sidecar } = await serveBeforeFake({ SIDECAR_DRAIN_DELAY: '0' });
    const asked = ask(sidecar);
    asked.request.end();
    (await upstream.next()).answer('200 OK', 'served');
    (await asked.answer).resume();
    process.signal('SIGTERM');
    expect(await process.ended).toBe(0);
    expect(process.stderr().trimEnd().split('\n').at(-1)).toContain('"msg":"stopped"');
    expect(process.stderr()).toContain('"msg":"request"');
  });
});

/** Resolves once the sidecar has read what was sent to it before on another connection. */
async function afterARead(sidecar: { port: number }): Promise<void> {
  await statusOf(sidecar.port, '/health/liveliness');
}

async function refusedAsDraining(caller: RawCaller): Promise<void> {
  const text = await caller.until('draining');
  expect(text).toContain('HTTP/1.1 503 Service Unavailable');
  expect(text).toMatch(/retry-after: \d/i);
  await caller.ended;
}
