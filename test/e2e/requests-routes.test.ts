import { describe, expect, it } from 'vitest';
import { get } from '../support/ask.ts';
import { expectRefusal, sayLine } from '../support/attack.ts';
import { requestBytes } from '../support/raw-caller.ts';
import { converse, head } from '../support/raw-client.ts';
import { createStages, eventually } from '../support/stage.ts';

const stage = createStages();
const HEALTH = ['/health/liveliness', '/health/liveness', '/health/readiness'];

describe('a health route', () => {
  it('is answered here, without a key, and never asks the upstream', async () => {
    const { sidecar, upstream } = await stage();
    for (const path of HEALTH) {
      const line = head(`GET ${path} HTTP/1.1`, 'host: gateway', 'connection: close');
      const { answers } = await converse(sidecar.port, line);
      expect(answers.map(({ status }) => status)).toEqual([200]);
      expect(answers[0]?.field('x-request-id')).toMatch(/./);
    }
    expect(upstream.requests).toEqual([]);
  });

  it('is answered while the upstream is down: alive, but not ready', async () => {
    const { sidecar, upstream } = await stage();
    expect((await get(sidecar, '/health/readiness')).response.statusCode).toBe(200);
    await upstream.stop();
    await get(sidecar);
    await eventually(() => (sidecar.logText().includes('LiteLLM is away') ? true : undefined));
    const [alive, live, ready] = await Promise.all(
      HEALTH.map(async (path) => (await get(sidecar, path)).response),
    );
    expect([alive?.statusCode, live?.statusCode, ready?.statusCode]).toEqual([200, 200, 503]);
    expect(ready?.headers['retry-after']).toBe('5');
  });

  it.each(['/health', '/health/readiness/details', '/health/liveness/x', '/HEALTH/liveness'])(
    '%s is none: it wants a key',
    async (path) => {
      const on = await stage({ script: sayLine });
      const bytes = head(`GET ${path} HTTP/1.1`, 'host: gateway');
      await expectRefusal(on, bytes, 'missing_key', 'clean');
    },
  );
});

describe('a CORS preflight', () => {
  const preflight = (path: string, fields: readonly string[] = []) =>
    head(
      ...[`OPTIONS ${path} HTTP/1.1`, 'host: gateway', 'origin: https://app.example'],
      ...['access-control-request-method: POST', ...fields, 'connection: close'],
    );

  it('is answered here, whatever it presents, and never asks the upstream', async () => {
    const on = await stage({ script: sayLine });
    for (const path of ['/v1/chat/completions', '/key/generate', '/health/readiness']) {
      const fields = [`authorization: Bearer ${on.sidecar.key}`, 'connection: origin'];
      const { answers } = await converse(on.sidecar.port, preflight(path, fields));
      expect(answers.map(({ status, body }) => [status, body])).toEqual([[200, 'OK']]);
      expect(answers[0]?.field('access-control-allow-origin')).toBe('*');
      expect(answers[0]?.field('access-control-max-age')).toBe('600');
    }
    expect(on.upstream.requests).toEqual([]);
  });

  it('is answered at once while LiteLLM is away, and takes no place of those who wait', async () => {
    const settings = { SIDECAR_HOLD: '20s', SIDECAR_HOLD_MAX: '1' };
    const on = await stage({ script: sayLine, settings });
    await on.upstream.stop();
    const waiting = get(on.sidecar);
    await eventually(() => (on.sidecar.logText().includes('LiteLLM is away') ? true : undefined));
    const one = preflight('/v1/models').replace('connection: close', 'x-a: b');
    const { answers } = await converse(on.sidecar.port, one + preflight('/v1/models'));
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    await on.upstream.start();
    expect((await waiting).response.statusCode).toBe(200);
  });

  it('of an origin that SIDECAR_CORS_ORIGINS does not name is refused as LiteLLM does', async () => {
    const settings = { SIDECAR_CORS_ORIGINS: 'https://chat.example.com, https://app.example' };
    const on = await stage({ script: sayLine, settings });
    const { answers } = await converse(on.sidecar.port, preflight('/v1/models'));
    expect(answers[0]?.field('access-control-allow-origin')).toBe('https://app.example');
    const evil = preflight('/v1/models').replace('https://app.example', 'https://evil.example');
    const refused = (await converse(on.sidecar.port, evil)).answers[0];
    expect([refused?.status, refused?.body]).toEqual([400, 'Disallowed CORS origin']);
    expect(refused?.field('access-control-allow-origin')).toBeUndefined();
    const asked = async (path: string, origin: string) =>
      (await get(on.sidecar, path, { headers: { origin } })).response.headers;
    for (const path of ['/v1/models', '/health/liveliness', '/prompts/test']) {
      const mine = await asked(path, 'https://chat.example.com');
      expect(mine['access-control-allow-origin']).toBe('https://chat.example.com');
      const others = await asked(path, 'https://evil.example');
      expect(others['access-control-allow-origin']).toBeUndefined();
    }
  });

  it('is no way to a denied row', async () => {
    const on = await stage({ script: sayLine });
    const { refusals } = await converse(on.sidecar.port, preflight('/prompts/test'));
    expect(refusals).toEqual(['route_denied']);
    expect(on.upstream.requests).toEqual([]);
  });

  it('is none with a body, or without Origin', async () => {
    const on = await stage({ script: sayLine });
    const body = `${preflight('/v1/models', ['content-length: 2'])}{}`;
    expect((await converse(on.sidecar.port, body)).refusals).toEqual(['missing_key']);
    const noOrigin = preflight('/v1/models').replace(/origin: .*\r\n/, '');
    expect((await converse(on.sidecar.port, noOrigin)).refusals).toEqual(['missing_key']);
    expect(on.upstream.requests).toEqual([]);
  });
});

describe('a management route', () => {
  it('is open to the addresses of SIDECAR_MANAGEMENT_ALLOW_FROM alone', async () => {
    const settings = {
      SIDECAR_MANAGEMENT_ALLOW_FROM: '192.0.2.0/24',
      SIDECAR_TRUSTED_PROXIES: '127.0.0.1',
    };
    const on = await stage({ script: sayLine, settings });
    const ask = (path: string) => requestBytes(on.sidecar, `GET ${path}`);
    await expectRefusal(on, ask('/key/list'), 'address_denied', 'clean');
    await expectRefusal(on, ask('/no/such/route'), 'address_denied', 'clean');
    const from = async (address: string) =>
      (await get(on.sidecar, '/key/list', { headers: { 'x-forwarded-for': address } })).text;
    expect(await from('192.0.2.5')).toBe('GET /key/list');
    expect(await from('192.0.2.5, 203.0.113.7')).toContain('address_denied');
    expect((await get(on.sidecar)).text).toBe('GET /v1/models');
  });

  it('is open from anywhere where nothing is set, with the key', async () => {
    const on = await stage({ script: sayLine });
    expect((await get(on.sidecar, '/key/list')).text).toBe('GET /key/list');
    const bytes = head('GET /key/list HTTP/1.1', 'host: gateway');
    await expectRefusal(on, bytes, 'missing_key', 'clean');
  });
});

describe("the operator's paths", () => {
  it('are denied, and opened again, as he says', async () => {
    const settings = {
      SIDECAR_DENY_PATHS: '/v1/files/*',
      SIDECAR_ALLOW_PATHS: '/prompts/test',
    };
    const on = await stage({ script: sayLine, settings });
    for (const path of ['/v1/files', '/V1/Files/x', '/v1/files/x/content']) {
      await expectRefusal(on, requestBytes(on.sidecar, `GET ${path}`), 'route_denied', 'clean');
    }
    expect((await get(on.sidecar, '/prompts/test')).text).toBe('GET /prompts/test');
  });
});

describe('a LiteLLM that refuses the key of the sidecar', () => {
  it('makes it not ready, and is said in log, metric and status', async () => {
    const { sidecar } = await stage({ script: sayLine, takesKey: false });
    const readyz = async () => (await fetch(`http://127.0.0.1:${sidecar.opsPort}/readyz`)).text();
    await expect.poll(readyz).toContain("LiteLLM refuses the sidecar's key");
    expect((await get(sidecar, '/health/readiness')).response.statusCode).toBe(503);
    expect(sidecar.logText()).toContain("LiteLLM refuses the sidecar's key (401)");
    expect(await sidecar.metrics()).toMatch(/^litellm_sidecar_upstream_key_accepted 0$/m);
  });

  it('is noticed as soon as it is back with another key', async () => {
    const { sidecar, upstream } = await stage({ script: sayLine });
    const accepted = async () => /_key_accepted (\d)$/m.exec(await sidecar.metrics())?.[1];
    // At the start, and once the settings were read again: from then on it is asked rarely.
    await expect.poll(upstream.keyQuestions, { timeout: 5000 }).toBe(2);
    await expect.poll(accepted).toBe('1');
    await upstream.stop();
    upstream.takesKey(false);
    await get(sidecar, '/v1/models');
    await eventually(() => (sidecar.logText().includes('LiteLLM is away') ? true : undefined));
    await upstream.start();
    await expect.poll(accepted, { timeout: 5000 }).toBe('0');
  });
});
