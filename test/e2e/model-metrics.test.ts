import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import { post } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { createServers } from '../support/servers.ts';
import { startSidecar } from '../support/sidecar.ts';
import { createStages, settled } from '../support/stage.ts';
import { parseSeries } from '../telemetry/exposition.ts';

const stage = createStages();
const { listen } = createServers();
const NAMED = ['x-litellm-model-group: gpt-4o', 'x-litellm-response-duration-ms: 0.5'];
const USAGE = {
  prompt_tokens: 12,
  completion_tokens: 5,
  prompt_tokens_details: { cached_tokens: 8 },
};

const answerJson = (peer: Peer): void =>
  peer.answer(
    '200 OK',
    JSON.stringify({ object: 'chat.completion', choices: [], usage: USAGE }),
    ...['content-type: application/json', 'x-litellm-response-cost: 0.25', ...NAMED],
  );

const answerStream = (peer: Peer): void => {
  peer.head(
    '200 OK',
    ...['content-type: text/event-stream', 'transfer-encoding: chunked', ...NAMED],
  );
  const events = [{}, {}, { usage: { ...USAGE, cost: 0.5 } }].map((event) =>
    JSON.stringify({ object: 'chat.completion.chunk', choices: [], ...event }),
  );
  for (const event of [...events, '[DONE]']) peer.chunk(`data: ${event}\n\n`);
  peer.write('0\r\n\r\n');
};

describe('the metrics of a model', () => {
  it('count what answers say they used, what they cost, and how they ended', async () => {
    const { sidecar } = await stage({
      settings: { SIDECAR_USAGE_KEEP: '400d' },
      async script(peer) {
        const asked = (await peer.body).toString();
        if (asked.includes('"stream"')) answerStream(peer);
        else if (asked.includes('"fails"')) peer.answer('500 Internal Server Error', '{}');
        else answerJson(peer);
      },
    });
    for (const body of [{}, {}, { stream: true }, { fails: true }]) {
      await post(sidecar, JSON.stringify(body));
    }
    await post(sidecar, '{}', { path: '/v1/messages/count_tokens' });
    await settled(() => sidecar.accessLines().length);
    const series = parseSeries(await sidecar.metrics());
    const own = (name: string) => series.get(`litellm_sidecar_${name}`);
    const of = (labels: string) => `{client="master",model="gpt-4o"${labels}}`;
    expect(own(`tokens_total${of(',type="input"')}`)).toBe(36);
    expect(own(`tokens_total${of(',type="output"')}`)).toBe(15);
    expect(own(`tokens_total${of(',type="cached"')}`)).toBe(24);
    expect(own(`cost_usd_total${of('')}`)).toBe(1);
    expect(own(`model_requests_total${of(',outcome="ok"')}`)).toBe(3);
    expect(own('model_requests_total{client="master",model="-",outcome="5xx"}')).toBe(1);
    expect(own('model_requests_total{client="master",model="-",outcome="ok"}')).toBe(0);
    expect(own('usage_missing_total{route="chat",reason="absent"}')).toBe(0);
    expect(own('time_to_first_chunk_seconds_count{model="gpt-4o"}')).toBe(1);
    expect(own('time_per_output_chunk_seconds_count{model="gpt-4o"}')).toBe(1);
    expect(own('upstream_wait_seconds_count{route="chat"}')).toBe(3);
    expect(own('usage_store_up')).toBe(1);
  });

  it('begin at 0 for what LiteLLM lists, before anybody asks for it', async () => {
    const models = JSON.stringify({ object: 'list', data: [{ id: 'gpt-4o' }, { id: 'mock' }] });
    const origin = await listen(
      createServer(({ url }, response) => {
        if (url === '/v1/models') response.setHeader('content-type', 'application/json');
        response.end(url === '/v1/models' ? models : '');
      }),
    );
    const sidecar = await startSidecar(Number(origin.port));
    try {
      const shown = '{client="master",model="mock",type="input"} 0';
      await expect.poll(sidecar.metrics, { timeout: 10_000, interval: 1100 }).toContain(shown);
    } finally {
      await sidecar.stop();
    }
  });
});
