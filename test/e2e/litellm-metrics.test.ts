import { request } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { Script } from '../support/fake-upstream.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages } from '../support/stage.ts';
import { addressOf, createTwoSlots } from '../support/two-slots.ts';

const stage = createStages();
const twoSlots = createTwoSlots();
const OPEN = { SIDECAR_LITELLM_METRICS: 'true' };
const TYPE = 'content-type: text/plain; version=0.0.4; charset=utf-8';
const saysMetrics: Script = (peer) => peer.answer('200 OK', 'litellm_requests 3\n', TYPE);

const ask = (
  { opsPort }: Sidecar,
  options: RequestInit = {},
  path = '/litellm/metrics',
): Promise<Response> => fetch(`http://127.0.0.1:${opsPort}${path}`, options);

describe("LiteLLM's metrics on the ops port", () => {
  it('are closed, and say what opens them', async () => {
    const { sidecar, upstream } = await stage({ script: saysMetrics });
    const answer = await ask(sidecar);
    expect(answer.status).toBe(404);
    expect(await answer.text()).toContain('SIDECAR_LITELLM_METRICS=true');
    expect(await (await ask(sidecar, {}, '/')).text()).not.toContain('litellm/metrics');
    expect(upstream.requests).toEqual([]);
  });

  it('are passed on with the key that only the sidecar has', async () => {
    const { sidecar, upstream } = await stage({ script: saysMetrics, settings: OPEN });
    const accept = 'application/openmetrics-text';
    const answer = await ask(sidecar, { headers: { accept, authorization: 'Bearer mine' } });
    expect(answer.status).toBe(200);
    expect(await answer.text()).toBe('litellm_requests 3\n');
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    const head = upstream.requests[0]?.rawHead ?? '';
    expect(head).toMatch(/^GET \/metrics\/ HTTP/);
    expect(head).toContain(`authorization: Bearer ${sidecar.upstreamKey}`);
    expect(head).toContain(`accept: ${accept}`);
    expect(head).not.toContain('mine');
    expect(await (await ask(sidecar, {}, '/nothing')).text()).toContain('/litellm/metrics');
  });

  it('answer GET and HEAD alone', async () => {
    const { sidecar, upstream } = await stage({ script: saysMetrics, settings: OPEN });
    expect((await ask(sidecar, { method: 'POST', body: 'x' })).status).toBe(405);
    expect(upstream.requests).toEqual([]);
    const head = await ask(sidecar, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    expect((await ask(sidecar, { method: 'HEAD' })).status).toBe(200);
  });

  it('are 502 with the reason where LiteLLM gives none, and name no key', async () => {
    const { sidecar, upstream } = await stage({
      script: (peer) => peer.answer('401 Unauthorized', `"${peer.rawHead}"`),
      settings: OPEN,
    });
    const answer = await ask(sidecar);
    expect([answer.status, await answer.text()]).toEqual([
      502,
      "LiteLLM refuses the sidecar's key\n",
    ]);
    await upstream.stop();
    const away = await ask(sidecar);
    expect([away.status, await away.text()]).toEqual([502, 'LiteLLM does not answer\n']);
  });

  it('break off where LiteLLM breaks off, so that no part is taken for the whole', async () => {
    const { sidecar } = await stage({
      script: (peer) => {
        peer.head('200 OK', TYPE, 'content-length: 9000');
        peer.write('a'.repeat(4000));
        setImmediate(() => peer.reset());
      },
      settings: OPEN,
    });
    await expect(ask(sidecar).then((answer) => answer.text())).rejects.toThrow(/./);
  });

  it('stop at LiteLLM when the scraper goes, and four at a time are enough', async () => {
    const { sidecar, upstream } = await stage({ settings: OPEN });
    const begun = Array.from({ length: 4 }, () => {
      const asked = request({ port: sidecar.opsPort, path: '/litellm/metrics', agent: false });
      return asked.on('error', () => undefined).end();
    });
    const peers = [];
    for (const _ of begun) peers.push(await upstream.next());
    const fifth = await ask(sidecar);
    expect([fifth.status, await fifth.text()]).toEqual([503, expect.stringContaining('ask again')]);
    for (const each of begun) each.destroy();
    await Promise.all(peers.map(({ gone }) => gone));
    const answer = ask(sidecar);
    (await upstream.next()).answer('200 OK', 'up 1\n', TYPE);
    expect(await (await answer).text()).toBe('up 1\n');
  });

  it('are those of the LiteLLM that serves', async () => {
    const { sidecar, a, b, keys, switchTo } = await twoSlots({
      script: { a: saysMetrics, b: saysMetrics },
      settings: OPEN,
    });
    await (await ask(sidecar)).text();
    switchTo('b');
    await (await ask(sidecar)).text();
    expect([a, b].map(({ requests }) => requests.map(addressOf))).toEqual([
      [{ host: [`127.0.0.1:${a.port}`], key: [`Bearer ${keys.a}`] }],
      [{ host: [`127.0.0.1:${b.port}`], key: [`Bearer ${keys.b}`] }],
    ]);
  });
});
