import { describe, expect, it, vi } from 'vitest';
import { get } from '../support/ask.ts';
import { openStage } from '../support/handover-attempt.ts';

describe('a LiteLLM that is killed while it serves', () => {
  it('keeps a request waiting until the launcher has it back', async ({ onTestFinished }) => {
    // It is away for longer than a scrape is cached.
    const launcher = { env: { LAUNCHER_LOOK: '1' } };
    const stage = await openStage(onTestFinished, { launcher });
    await stage.rests();
    const up = async (): Promise<string> => {
      const answer = await fetch(`http://127.0.0.1:${stage.opsPort}/metrics`);
      return /^\w*upstream_up\{slot="a"\} (\d)$/m.exec(await answer.text())?.[1] ?? '';
    };
    await vi.waitFor(async () => expect(await up()).toBe('1'), 5000);
    const killed = stage.pidAt('a');
    process.kill(killed, 'SIGKILL');
    const early = get(stage);
    await vi.waitFor(async () => expect(await up()).toBe('0'), { timeout: 5000, interval: 20 });
    const { response } = await early;
    expect(response.statusCode).toBe(200);
    await vi.waitFor(async () => expect(await up()).toBe('1'), 5000);
    expect(stage.pidAt('a')).not.toBe(killed);
    const said = (): readonly string[] =>
      stage
        .sidecar()
        .stderr()
        .split('\n')
        .filter((line) => /"slot":"a".*"LiteLLM (?:is away|answers)"/.test(line))
        .map((line) => (JSON.parse(line) as { msg: string }).msg);
    await vi.waitFor(() =>
      expect(said().slice(-2)).toEqual(['LiteLLM is away', 'LiteLLM answers']),
    );
  });
});
