import { once } from 'node:events';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createOpsServer, type OpsOptions } from '../../src/servers/ops.ts';

const servers: ReturnType<typeof createOpsServer>[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const start = async (changes: Partial<OpsOptions> = {}) => {
  const server = createOpsServer({
    metrics: () => Promise.resolve({ type: 'text/plain; version=0.0.4', body: 'up 1\n' }),
    isReady: () => ({ ready: true, waitingFor: [] }),
    ...changes,
  });
  servers.push(server);
  const { port } = await server.listen('127.0.0.1', 0);
  return { server, port };
};

interface Reply {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const ask = (port: number, method: string, path: string, body?: string): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: '127.0.0.1', method, path, agent: false });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const { statusCode: status, headers } = response;
        resolve({ status, headers, body: Buffer.concat(chunks).toString() });
      });
    });
    request.end(body);
  });

/** Sends bytes as they are and gives back all that comes until the connection ends. */
const exchangeRaw = (port: number, bytes: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let got = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (chunk) => {
      got += chunk.toString();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(got));
  });

describe('endpoints', () => {
  it('/livez is 200 while the process is there', async () => {
    const { port } = await start({ isReady: () => ({ ready: false, waitingFor: ['litellm'] }) });
    const { status, headers, body } = await ask(port, 'GET', '/livez');
    expect([status, body]).toEqual([200, 'ok\n']);
    expect(headers).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
    });
  });

  it('/readyz follows readiness and says what it waits for', async () => {
    let waitingFor = ['keyring', 'litellm'];
    const { port } = await start({
      isReady: () => ({ ready: waitingFor.length === 0, waitingFor }),
    });
    const before = await ask(port, 'GET', '/readyz');
    expect(before.status).toBe(503);
    expect(before.headers['content-type']).toBe('application/json');
    expect(JSON.parse(before.body)).toEqual({ ready: false, waitingFor: ['keyring', 'litellm'] });
    waitingFor = [];
    const after = await ask(port, 'GET', '/readyz?verbose');
    expect(after.status).toBe(200);
    expect(JSON.parse(after.body)).toEqual({ ready: true, waitingFor: [] });
  });

  it('/metrics is what it is answered with, under its type, in the format that is asked for', async () => {
    const metrics = vi.fn((accept: string | undefined) =>
      Promise.resolve({ type: accept ?? 'text/plain; version=0.0.4', body: 'up 1\n' }),
    );
    const { port } = await start({ metrics });
    const { status, headers, body } = await ask(port, 'GET', '/metrics');
    expect([status, headers['content-type'], body]).toEqual([
      200,
      'text/plain; version=0.0.4',
      'up 1\n',
    ]);
    const get = 'GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n';
    const open = await exchangeRaw(port, `${get}Accept: application/openmetrics-text\r\n\r\n`);
    expect(open).toMatch(/^content-type: application\/openmetrics-text$/im);
  });

  it('HEAD has the head of GET and no body', async () => {
    const { port } = await start();
    const { status, headers, body } = await ask(port, 'HEAD', '/metrics');
    expect([status, headers['content-length'], body]).toEqual([200, '5', '']);
  });

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])('%s is 405', async (method) => {
    const { port } = await start();
    const { status, headers } = await ask(port, method, '/metrics');
    expect([status, headers.allow]).toEqual([405, 'GET, HEAD']);
  });

  it.each(['/', '/metrics/', '/METRICS', '/livez/../metrics', '/%6detrics'])(
    '%s is 404 with the list',
    async (path) => {
      const { port } = await start();
      const { status, body } = await ask(port, 'GET', path);
      expect(status).toBe(404);
      for (const endpoint of ['/livez', '/readyz', '/metrics']) expect(body).toContain(endpoint);
    },
  );

  it('a failing endpoint is 500 without the reason, which is told inside', async () => {
    const onError = vi.fn();
    const { port } = await start({
      onError,
      metrics: () => Promise.reject(new Error('inner')),
      isReady: () => {
        throw new Error('inner');
      },
    });
    for (const path of ['/metrics', '/readyz']) {
      const { status, body } = await ask(port, 'GET', path);
      expect(status).toBe(500);
      expect(body).not.toContain('inner');
    }
    expect(onError.mock.calls).toEqual([[new Error('inner')], [new Error('inner')]]);
  });
});

describe('connections', () => {
  it('are kept between requests, and closed where the caller asks', async () => {
    const { port } = await start();
    const get = (more = '') => `GET /livez HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
    const got = await exchangeRaw(port, get() + get() + get('Connection: close\r\n'));
    expect(got.match(/^HTTP\/1\.1 200/gm)).toHaveLength(3);
    expect(got.match(/^connection: keep-alive/gim)).toHaveLength(2);
    expect(got.match(/^connection: close/gim)).toHaveLength(1);
  });

  it.each(['', 'Expect: 100-continue\r\n'])(
    'end with the answer to a request that has a body, which is not read (%j)',
    async (expect100) => {
      const { port } = await start();
      const head = `POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n${expect100}\r\n`;
      const got = await exchangeRaw(port, head);
      expect(got).toMatch(/^HTTP\/1\.1 405 /);
      expect(got).toMatch(/^connection: close/im);
    },
  );

  it('with a head above 8 KiB are answered 431 and closed', async () => {
    const { port } = await start();
    const got = await exchangeRaw(
      port,
      `GET /livez HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(9000)}\r\n\r\n`,
    );
    expect(got).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('that say nothing shut nobody out: the oldest gives way', async () => {
    const { port } = await start();
    const silent = Array.from({ length: 40 }, () => connect(port, '127.0.0.1'));
    const closed: number[] = [];
    for (const [at, socket] of silent.entries()) {
      socket.on('close', () => closed.push(at)).on('error', () => undefined);
      socket.resume();
    }
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    expect((await ask(port, 'GET', '/livez')).status).toBe(200);
    await vi.waitFor(() => expect(closed.toSorted((a, b) => a - b)).toHaveLength(9));
    expect(Math.max(...closed)).toBe(8);
    for (const socket of silent) socket.destroy();
  });

  it('with a request under way are kept, and new ones turned away', async () => {
    let answerAll = (): void => {};
    const answered = new Promise<{ type: string; body: string }>((resolve) => {
      answerAll = () => resolve({ type: 'text/plain', body: 'up 1\n' });
    });
    const metrics = vi.fn(() => answered);
    const { port } = await start({ metrics });
    const get = 'GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
    const waiting = Array.from({ length: 32 }, () => exchangeRaw(port, get));
    await vi.waitFor(() => expect(metrics).toHaveBeenCalledTimes(32));
    await expect(ask(port, 'GET', '/livez')).rejects.toMatchObject({ code: 'ECONNRESET' });
    answerAll();
    for (const answer of await Promise.all(waiting)) expect(answer).toMatch(/^HTTP\/1\.1 200/);
    expect((await ask(port, 'GET', '/livez')).status).toBe(200);
  });

  it('that send no whole head are answered 408 and closed', async () => {
    const { port } = await start();
    const got = await exchangeRaw(port, 'GET /livez HTTP/1.1\r\n');
    expect(got).toMatch(/^HTTP\/1\.1 408 /);
  });
});

describe('a name', () => {
  const asked = async (host: string, names: readonly string[] = []) => {
    const { port } = await start({ names });
    const lines = ['GET /metrics HTTP/1.1', `Host: ${host}`, 'Connection: close', '', ''];
    return (await exchangeRaw(port, lines.join('\r\n'))).slice(9, 12);
  };

  it('that is not ours is refused: a page of somebody else may be called so', async () => {
    expect(await asked('evil.example:4001')).toBe('421');
    expect(await asked('ops.example.com')).toBe('421');
    expect(await asked('OPS.example.com:4001', ['ops.example.com'])).toBe('200');
    expect(await asked('localhost\r\nHost: evil.example')).toBe('421');
  });
});

describe('life', () => {
  it('a port that is taken rejects', async () => {
    const { port } = await start();
    const second = createOpsServer({
      metrics: () => Promise.resolve({ type: 'text/plain', body: '' }),
      isReady: () => ({ ready: true, waitingFor: [] }),
    });
    await expect(second.listen('127.0.0.1', port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await second.close();
  });

  it('a close lets an answer under way finish, and ends its connection', async () => {
    let release = (_answer: { type: string; body: string }): void => {};
    let asked = (): void => {};
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const metrics = () =>
      new Promise<{ type: string; body: string }>((resolve) => {
        release = resolve;
        asked();
      });
    const { server, port } = await start({ metrics });
    const reply = exchangeRaw(port, 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n');
    await isAsked;
    const closed = server.close();
    release({ type: 'text/plain', body: 'late 1\n' });
    expect(await reply).toMatch(/connection: close[\s\S]*late 1\n$/i);
    await closed;
    await expect(ask(port, 'GET', '/livez')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('a close does not wait for those who say nothing', async () => {
    const { server, port } = await start();
    const silent = exchangeRaw(port, 'GET /li');
    const idle = exchangeRaw(port, 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
    await ask(port, 'GET', '/livez');
    const begin = performance.now();
    await server.close();
    expect(performance.now() - begin).toBeLessThan(3000);
    await silent;
    expect(await idle).toMatch(/^HTTP\/1\.1 200/);
    await server.close();
  });
});
