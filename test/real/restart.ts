import { describe, expect, test } from 'vitest';
import { bearer, chat, type Given, refusalIn } from './ask.ts';
import { MOCK_ANSWER, MODELS } from './stage.ts';
import { openStream } from './streams.ts';

export const restart = (given: Given) =>
  describe('LiteLLM is killed and started again', () => {
    test('a stream breaks off visibly; requests wait and are served', async () => {
      const { litellm, sidecar, key } = given();
      const { until } = await openStream(given);
      const broken = expect(until('[DONE]')).rejects.toThrow('terminated');
      const aborted = sidecar.nextLine(({ outcome }) => outcome === 'upstream_aborted');
      // A probe may find it away before the stream's end is known.
      const unready = sidecar.nextLine(({ msg }) => msg === 'LiteLLM is away');
      await litellm.kill();
      await broken;
      await aborted;

      const held = [1, 2, 3].map(() => chat(given(), MODELS.mock));
      await unready;
      expect((await fetch(`${sidecar.url}/health/readiness`)).status).toBe(503);
      expect((await fetch(`${sidecar.url}/health/liveliness`)).status).toBe(200);
      expect((await fetch(`${sidecar.opsUrl}/readyz`)).status).toBe(200);
      await expect
        .poll(() => gauge(sidecar.opsUrl, 'requests_held'), { timeout: 10_000, interval: 200 })
        .toBe(3);
      const stranger = await fetch(`${sidecar.url}/v1/models`, { headers: bearer(`${key}x`) });
      expect(refusalIn(stranger)).toBe('malformed_key');

      await litellm.start();
      for (const answer of await Promise.all(held)) {
        expect([answer.status, await answer.text()]).toEqual([
          200,
          expect.stringContaining(MOCK_ANSWER),
        ]);
      }
      await expect.poll(() => gauge(sidecar.opsUrl, 'upstream_up{slot="a"}')).toBe(1);
    });
  });

async function gauge(opsUrl: string, series: string): Promise<number> {
  const text = await (await fetch(`${opsUrl}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`litellm_sidecar_${series} `));
  return Number(line?.split(' ').at(-1));
}
