import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { chat, type Given, STRANGER } from './ask.ts';
import { isThere, runProgram } from './run-program.ts';
import { HAS_METRICS, MODELS } from './stage.ts';

export const accessLog = (given: Given) =>
  describe('the access log', () => {
    test.each([
      [MODELS.mock, false],
      [MODELS.slashes, false],
      [MODELS.nvidia, true],
    ])('names the model %s (stream: %s)', async (model, stream) => {
      const line = given().sidecar.nextLine(({ msg }) => msg === 'request');
      const answer = await chat(given(), model, { stream });
      await answer.text();
      expect(await line).toMatchObject({
        id: answer.headers.get('x-request-id'),
        client: 'master',
        method: 'POST',
        route: '/v1/chat/completions',
        status: 200,
        model,
        address: '127.0.0.1',
      });
    });

    test('leads to LiteLLM’s own line, where a call fails, and to the client’s trace', async () => {
      const { sidecar, litellm } = given();
      const traceId = randomBytes(16).toString('hex');
      const next = sidecar.nextLine(({ msg }) => msg === 'request');
      const answer = await chat(given(), MODELS.broken, {
        headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
      });
      await answer.text();
      const line = await next;
      const callId = answer.headers.get('x-litellm-call-id');
      expect(line).toMatchObject({ traceId, callId, status: answer.status });
      await expect.poll(() => litellm.log()).toContain(`litellm_call_id=${String(callId)}`);
    });
  });

/** Comes after all the others: it looks at what they left. */
export const afterAllTraffic = (given: Given) =>
  describe('after all this traffic', () => {
    const scrape = async () => await (await fetch(`${given().sidecar.opsUrl}/metrics`)).text();

    test('the metrics count it', async () => {
      const metrics = await scrape();
      const count = (labels: string) => {
        const [, value] = new RegExp(`requests_total\\{${labels}\\} (\\d+)`).exec(metrics) ?? [];
        return Number(value);
      };
      expect(count('client="master",route="chat",method="POST",status="200"')).toBeGreaterThan(5);
      expect(metrics).toMatch(/refusals_total\{reason="missing_key"\} [1-9]/);
      expect(metrics).toMatch(/refusals_total\{reason="route_denied"\} [1-9]/);
      expect(metrics).toMatch(/client_aborts_total [1-9]/);
      expect(metrics).toMatch(/upstream_errors_total\{kind="aborted"\} [1-9]/);
    });

    test.skipIf(!isThere('promtool'))('promtool check metrics has nothing to say', async () => {
      const stdin = await scrape();
      expect(await runProgram('promtool', ['check', 'metrics'], { stdin })).toEqual({
        code: 0,
        stdout: '',
        stderr: '',
      });
    });

    test.skipIf(!HAS_METRICS)('LiteLLM’s own metrics come without a key', async () => {
      const { sidecar, litellm } = given();
      expect((await fetch(`${litellm.url}/metrics/`)).status).toBe(401);
      const answer = await fetch(`${sidecar.opsUrl}/litellm/metrics`);
      expect([answer.status, answer.headers.get('content-type')]).toEqual([
        200,
        expect.stringMatching(/^text\/plain; version=/),
      ]);
      const text = await answer.text();
      expect(text).toMatch(/^litellm_proxy_total_requests_metric_total\{.*\} [1-9]/m);
      const accept = 'application/openmetrics-text';
      const open = await fetch(`${sidecar.opsUrl}/litellm/metrics`, { headers: { accept } });
      expect(await open.text()).toMatch(/# EOF\n$/);
    });

    test.skipIf(HAS_METRICS)(
      'LiteLLM has no metrics of its own, and the sidecar says so',
      async () => {
        const answer = await fetch(`${given().sidecar.opsUrl}/litellm/metrics`);
        expect([answer.status, await answer.text()]).toEqual([
          502,
          expect.stringContaining('LiteLLM has no metrics'),
        ]);
      },
    );

    test('no key stands in the sidecar’s log or metrics', async () => {
      const { sidecar, key, upstreamKey, providerKey } = given();
      const own = await (await fetch(`${sidecar.opsUrl}/litellm/metrics`)).text();
      const told = sidecar.log() + (await scrape()) + own;
      expect(told).toContain(MODELS.slashes);
      for (const secret of [key, upstreamKey, providerKey, STRANGER]) {
        expect(told.includes(secret)).toBe(false);
      }
      // Nor was there one to cut out.
      expect(told).not.toContain('[redacted]');
    });

    test('the clients’ key stands neither in LiteLLM’s log nor at the provider', () => {
      const { litellm, provider, key, upstreamKey, providerKey } = given();
      expect(litellm.log()).toContain('POST /v1/messages');
      expect(litellm.log().includes(key)).toBe(false);
      const seen = JSON.stringify(provider.requests);
      expect(seen).toContain(providerKey);
      expect([seen.includes(key), seen.includes(upstreamKey)]).toEqual([false, false]);
    });

    test.skipIf(!existsSync('/proc/self/environ'))(
      'LiteLLM’s environment holds its own key, not the clients’',
      () => {
        const { litellm, key, upstreamKey } = given();
        const environment = readFileSync(`/proc/${litellm.pid()}/environ`, 'utf8');
        expect(environment.includes(`LITELLM_MASTER_KEY=${upstreamKey}`)).toBe(true);
        expect(environment.includes(key)).toBe(false);
      },
    );
  });
