import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import type { HandoverView } from '../../src/handover/views.ts';
import { adminCall } from '../support/admin.ts';
import { get, post } from '../support/ask.ts';
import { openStage } from '../support/handover-attempt.ts';
import type { HandoverStage } from '../support/handover-stage.ts';

const STEPS = ['staged', 'starting', 'verified', 'switched', 'draining'] as const;
/** Of a kill that comes a moment too late. */
const MOST_TRIES = 8;

/** The step that is stored. */
const storedStep = ({ state }: HandoverStage): string => {
  const text = readFileSync(join(state, 'upstream.json'), 'utf8');
  const { state: stored } = JSON.parse(text) as { state: { handover?: { step: string } } };
  return stored.handover?.step ?? 'none';
};

const begin = async (stage: HandoverStage): Promise<HandoverView> => {
  const answer = await adminCall(stage, 'POST', '/api/upstream/rotate');
  expect(answer.status).toBe(202);
  return answer.body as HandoverView;
};

/** Some steps last a millisecond. */
async function reaches(stage: HandoverStage, step: string): Promise<void> {
  const end = performance.now() + 10_000;
  while (storedStep(stage) !== step && performance.now() < end) await setImmediate();
}

/** Kills the sidecar as soon as this step is stored; resolves to the step in which it was killed. */
async function killAt(stage: HandoverStage, step: string): Promise<string> {
  const begun = begin(stage).catch(() => undefined);
  await reaches(stage, step);
  stage.sidecar().signal('SIGKILL');
  await stage.sidecar().ended;
  await begun;
  return storedStep(stage);
}

describe.concurrent('a sidecar that is killed', () => {
  it.for(STEPS)('while a handover is %s goes on with it', async (step, { onTestFinished }) => {
    const stage = await openStage(onTestFinished, { settings: { SIDECAR_PROBATION: '200ms' } });
    await stage.rests();
    let hit = '';
    for (let tries = 0; hit !== step && tries < MOST_TRIES; tries++) {
      hit = await killAt(stage, step);
      await stage.startSidecar();
      // One LiteLLM, one folder, one key file, and the client's key is good.
      await stage.rests();
    }
    expect(hit).toBe(step);
  });
});

describe.concurrent('a launcher that is killed', () => {
  const killed = async (stage: HandoverStage): Promise<void> => {
    stage.launcher().kill('SIGKILL');
    await stage.launcher().ended;
    // What it started ends, too: nobody else would tell it to.
    await vi.waitFor(() => expect(stage.pids()).toEqual([]), 10_000);
    stage.startLauncher();
  };

  it('leaves no LiteLLM behind, and the next one starts it again', async ({ onTestFinished }) => {
    const stage = await openStage(onTestFinished);
    await stage.rests();
    await killed(stage);
    await stage.rests();
  });

  it('in a handover is waited for by that', async ({ onTestFinished }) => {
    const stage = await openStage(onTestFinished);
    await stage.rests();
    const { id } = await begin(stage);
    await reaches(stage, 'starting');
    await killed(stage);
    expect((await stage.ended(id)).state).toMatch(/^(?:done|rolled_back)$/);
    await stage.rests();
  });
});

describe.concurrent('a LiteLLM that is killed', () => {
  it('while it serves alone is waited for', async ({ onTestFinished }) => {
    const stage = await openStage(onTestFinished);
    await stage.rests();
    const pid = stage.pidAt('a');
    process.kill(pid, 'SIGKILL');
    const { response } = await get(stage, '/v1/models');
    expect(response.statusCode).toBe(200);
    await stage.rests();
    expect(stage.pidAt('a')).not.toBe(pid);
  });

  it('while it starts in the other slot gets a second try', async ({ onTestFinished }) => {
    const stage = await openStage(onTestFinished);
    await stage.rests();
    const { id } = await begin(stage);
    await vi.waitFor(() => expect(stage.pids()).toHaveLength(2), { timeout: 10_000, interval: 5 });
    process.kill(stage.pidAt('b'), 'SIGKILL');
    expect((await stage.ended(id)).state).toMatch(/^(?:done|rolled_back)$/);
    await stage.rests();
  });

  it('while it drains takes what it had in hand with it, and no more', async ({
    onTestFinished,
  }) => {
    const stage = await openStage(onTestFinished, { settings: { SIDECAR_DRAIN: '20s' } });
    await stage.rests();
    const cut = post(stage, '{"model":"first","messages":[],"pieces":400}').then(
      ({ text }) => text,
      () => 'broken',
    );
    const { id } = await begin(stage);
    await reaches(stage, 'draining');
    process.kill(stage.pidAt('a'), 'SIGKILL');
    expect(await cut).not.toContain('[DONE]');
    const { response } = await get(stage, '/v1/models');
    expect(response.statusCode).toBe(200);
    expect((await stage.ended(id)).state).toBe('done');
    await stage.rests();
  });

  it('in its probation gives way to the one before', async ({ onTestFinished }) => {
    const stage = await openStage(onTestFinished, { settings: { SIDECAR_PROBATION: '20s' } });
    await stage.rests();
    const { id } = await begin(stage);
    await reaches(stage, 'draining');
    process.kill(stage.pidAt('b'), 'SIGKILL');
    const view = await stage.ended(id);
    expect([view.state, view.fault?.code]).toEqual(['rolled_back', 'died_after_switch']);
    const { slots } = await stage.rests();
    expect(slots.find(({ state }) => state === 'active')?.name).toBe('a');
  });
});
