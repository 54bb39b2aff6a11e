import { spawn } from 'node:child_process';
import dns from 'node:dns';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { get, post } from '../support/ask.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { type Settings, startSidecar } from '../support/sidecar.ts';
import { foundAway } from '../support/stage.ts';
import { openWebSocket, refused } from '../support/websocket.ts';

const NAME = 'litellm.invalid';
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A name that resolves to nothing until it is told to, as that of a stopped container. */
function createName(code: 'ENOTFOUND' | 'EAI_AGAIN') {
  const { lookup } = dns;
  const state = { resolves: false };
  type Done = (error: Error | null, addresses?: unknown, family?: number) => void;
  const answer = (name: string, options: dns.LookupOptions, done: Done): void => {
    if (name !== NAME) {
      (lookup as (...all: unknown[]) => void)(name, options, done);
    } else if (!state.resolves) {
      const error = Object.assign(new Error(`getaddrinfo ${code} ${name}`), { code });
      process.nextTick(done, error);
    } else if (options.all === true) {
      process.nextTick(done, null, [{ address: '127.0.0.1', family: 4 }]);
    } else {
      process.nextTick(done, null, '127.0.0.1', 4);
    }
  };
  vi.spyOn(dns, 'lookup').mockImplementation(answer as unknown as typeof dns.lookup);
  return state;
}

async function stageAt(url: (upstream: FakeUpstream) => string, settings: Settings) {
  const upstream = await startFakeUpstream();
  ends.push(upstream.stop);
  const sidecar = await startSidecar(url(upstream), settings);
  ends.push(sidecar.stop);
  return { sidecar, upstream };
}

describe('an upstream whose name does not resolve', () => {
  const byName = ({ port }: FakeUpstream) => `http://${NAME}:${port}`;

  it.each(['ENOTFOUND', 'EAI_AGAIN'] as const)(
    '(%s) and then does: held, then served',
    async (code) => {
      const name = createName(code);
      const { sidecar, upstream } = await stageAt(byName, { SIDECAR_HOLD: '30s' });
      const asked = post(sidecar, '{"held":true}');
      const client = openWebSocket(sidecar);
      const refusal = refused(client);
      await foundAway(sidecar);
      expect(upstream.requests).toHaveLength(0);
      name.resolves = true;
      for (const _ of [1, 2]) {
        const peer = await upstream.next();
        expect(peer.values('host')).toEqual([`${NAME}:${upstream.port}`]);
        peer.answer('403 Forbidden', 'served');
      }
      expect((await asked).text).toBe('served');
      expect((await refusal).response.statusCode).toBe(403);
    },
  );

  it('and never does: 503 upstream_unavailable with Retry-After', async () => {
    createName('ENOTFOUND');
    const { sidecar } = await stageAt(byName, { SIDECAR_HOLD: '50ms' });
    const { response } = await post(sidecar);
    expect(response.statusCode).toBe(503);
    expect(response.headers['x-sidecar-refusal']).toBe('upstream_unavailable');
    expect(Number(response.headers['retry-after'])).toBeGreaterThan(0);
    expect((await refused(openWebSocket(sidecar))).response.statusCode).toBe(503);
  });
});

describe('an upstream that takes no connection', () => {
  /** A process that listens and is stopped, its queue full: packets to it are dropped. */
  async function startStalled() {
    const code = `require('http').createServer((q, s) => s.end('awake'))
      .listen(0, '127.0.0.1', 1, function () { console.log(this.address().port) })`;
    const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(child.stdout, 'data');
    child.kill('SIGSTOP');
    const port = Number(String(line));
    const fillers: Socket[] = [];
    // More than the queue takes, whatever this system makes of its length of 1.
    for (let n = 0; n < 8; n++) {
      fillers.push(connect({ host: '127.0.0.1', port }).on('error', () => undefined));
    }
    await once(fillers[0] as Socket, 'connect');
    ends.push(() => {
      for (const filler of fillers) filler.destroy();
      child.kill('SIGKILL');
    });
    return {
      port,
      wake() {
        for (const filler of fillers) filler.destroy();
        child.kill('SIGCONT');
      },
    };
  }

  it('within SIDECAR_CONNECT_TIMEOUT: held, then 503', async () => {
    const stalled = await startStalled();
    const { sidecar } = await stageAt(() => `http://127.0.0.1:${stalled.port}`, {
      SIDECAR_CONNECT_TIMEOUT: '100ms',
      SIDECAR_HOLD: '100ms',
    });
    const [http, ws] = await Promise.all([post(sidecar), refused(openWebSocket(sidecar))]);
    for (const { response } of [http, ws]) {
      expect(response.statusCode).toBe(503);
      expect(response.headers['x-sidecar-refusal']).toBe('upstream_unavailable');
    }
  });

  it('and then does: held, then served', async () => {
    const stalled = await startStalled();
    const { sidecar } = await stageAt(() => `http://127.0.0.1:${stalled.port}`, {
      SIDECAR_CONNECT_TIMEOUT: '100ms',
      SIDECAR_HOLD: '30s',
    });
    const asked = get(sidecar);
    await foundAway(sidecar);
    stalled.wake();
    expect((await asked).text).toBe('awake');
  });
});
