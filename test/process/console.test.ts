import { expect, it, onTestFinished } from 'vitest';
import { ask, post } from '../support/ask.ts';
import { eventsFrom } from '../support/live-events.ts';
import { serveBeforeFake, serveProcess } from '../support/serve-process.ts';

const TOKEN = 'a-token-of-these-tests-0123456789';
const withToken = (token = TOKEN) => ({ headers: { authorization: `Bearer ${token}` } });
const settings = {
  SIDECAR_ADMIN_TOKEN: TOKEN,
  SIDECAR_LOG_FORMAT: 'json',
  SIDECAR_DRAIN_DELAY: '0',
};

it('the ready line says where it is, and the page has all that it names', async () => {
  const { process, sidecar } = await serveBeforeFake(settings);
  const origin = `http://127.0.0.1:${sidecar.opsPort}`;
  const [line] = await process.says(/^.*"msg":"ready".*$/m);
  expect(JSON.parse(line)).toMatchObject({ console: `${origin}/` });
  const page = await fetch(`${origin}/`);
  const html = await page.text();
  expect(html).not.toMatch(/<style|<script(?![^>]* src=)|\son\w+=|\sstyle=|https?:/i);
  const named = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name = '']) => name);
  expect(named.length).toBeGreaterThan(2);
  for (const name of named) {
    const file = await fetch(`${origin}/${name}`);
    expect([name, file.status]).toEqual([name, 200]);
    expect(file.headers.get('cache-control')).toContain('immutable');
    expect(file.headers.get('content-encoding')).toMatch(/^(?:br|gzip)$/);
    expect((await file.text()).length).toBeGreaterThan(100);
  }
});

it('without a token the page says how to set one, and the ready line nothing', async () => {
  const { process, sidecar } = await serveBeforeFake({ SIDECAR_LOG_FORMAT: 'json' });
  const [line] = await process.says(/^.*"msg":"ready".*$/m);
  expect(JSON.parse(line)).not.toHaveProperty('console');
  const page = await fetch(`http://127.0.0.1:${sidecar.opsPort}/`);
  expect(await page.text()).toContain('SIDECAR_ADMIN_TOKEN=');
  const api = await fetch(`http://127.0.0.1:${sidecar.opsPort}/api/status`, withToken());
  expect(api.status).toBe(404);
});

it('who looks sees the drain, may rotate in it, and is let go of at its end', async () => {
  const { process, upstream, sidecar } = await serveBeforeFake({
    ...settings,
    SIDECAR_DRAIN: '30s',
  });
  const origin = `http://127.0.0.1:${sidecar.opsPort}`;
  const live = eventsFrom(await fetch(`${origin}/api/live`, withToken()));
  const next = async () => (await live.next()).value;
  expect(await next()).toMatchObject({ readiness: { waitingFor: [] }, now: { inFlight: 0 } });
  const asked = post(sidecar, '{"model":"m"}');
  const peer = await upstream.next();
  process.signal('SIGTERM');
  await process.says(/stopping: new requests are refused/);
  let event = await next();
  while (event?.readiness.ready !== false) event = await next();
  expect(event).toMatchObject({ readiness: { waitingFor: ['stopping'] }, now: { inFlight: 1 } });
  const rotated = await fetch(`${origin}/api/clients/master/rotate`, {
    method: 'POST',
    ...withToken(),
  });
  expect([rotated.status, await rotated.json()]).toMatchObject([200, { client: 'master' }]);
  peer.answer('200 OK', '{}');
  await asked;
  while (event !== undefined) event = await next();
  expect(await process.ended).toBe(0);
});

it('a page that stays open over a restart is told the new token from the old one', async () => {
  const first = await serveBeforeFake(settings);
  const { opsPort } = first.sidecar;
  const origin = `http://127.0.0.1:${opsPort}`;
  expect((await fetch(`${origin}/api/status`, withToken())).status).toBe(200);
  first.process.signal('SIGTERM');
  expect(await first.process.ended).toBe(0);
  const next = await serveProcess({
    ...settings,
    SIDECAR_UPSTREAM: first.upstream.url,
    SIDECAR_OPS_PORT: String(opsPort),
    SIDECAR_ADMIN_TOKEN: `${TOKEN}-changed`,
  });
  onTestFinished(next.clear);
  await next.ready();
  const old = await fetch(`${origin}/api/live`, withToken());
  expect([old.status, await old.json()]).toMatchObject([401, { code: 'unauthorized' }]);
  expect((await fetch(`${origin}/api/status`, withToken(`${TOKEN}-changed`))).status).toBe(200);
});

it('a request that is counted is told, with what came of it', async () => {
  const { upstream, sidecar } = await serveBeforeFake(settings);
  const origin = `http://127.0.0.1:${sidecar.opsPort}`;
  const live = eventsFrom(await fetch(`${origin}/api/live`, withToken()));
  await live.next();
  const asked = ask(sidecar, { method: 'POST', path: '/v1/chat/completions' });
  asked.request.end('{"model":"gpt-4o","messages":[]}');
  const usage = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
  (await upstream.next()).answer(
    '200 OK',
    JSON.stringify({ choices: [], usage }),
    'content-type: application/json',
    'x-litellm-model-group: <img src=x>',
    'x-litellm-response-cost: 0.25',
  );
  (await asked.answer).resume();
  await post({ ...sidecar, key: 'sk-nobody-has-this-key' }, '{}');
  const seen = { requests: 0, refusals: 0 };
  const models: unknown[] = [];
  while (seen.requests < 2) {
    const second = (await live.next()).value?.second;
    seen.requests += second?.requests ?? 0;
    seen.refusals += second?.refusals ?? 0;
    models.push(...Object.entries(second?.byModel ?? {}));
  }
  expect(seen).toEqual({ requests: 2, refusals: 1 });
  expect(models).toEqual([
    [
      '<img src=x>',
      expect.objectContaining({ requests: 1, tokensIn: 12, tokensOut: 5, costUsd: 0.25 }),
    ],
  ]);
  await live.return(undefined);
});
