import { expect, type onTestFinished } from 'vitest';
import type { HandoverView } from '../../src/handover/views.ts';
import {
  type HandoverStage,
  handoverStage,
  keepAsking,
  type StageOptions,
} from './handover-stage.ts';

type Finish = typeof onTestFinished;

/** A stage that goes with its test. */
export async function openStage(
  finish: Finish,
  options: StageOptions = {},
): Promise<HandoverStage> {
  const stage = await handoverStage(options);
  finish(() => stage.clear());
  return stage;
}

/**
 * Tries a handover that must fail; those who are served meanwhile never notice.
 *
 * @param inHand how many requests a LiteLLM that dies may have in hand: each may be answered with 502
 */
export async function failing(
  stage: HandoverStage,
  attempt: () => Promise<HandoverView>,
  inHand = 0,
): Promise<HandoverView> {
  await stage.rests();
  const client = keepAsking(stage);
  const view = await attempt();
  await stage.rests();
  const { served, wrong } = await client.stop();
  const inHandOnly = wrong.every((it) => it.startsWith('502') && it.includes('upstream_failed'));
  expect(inHandOnly && wrong.length <= inHand ? [] : wrong).toEqual([]);
  expect(served).toBeGreaterThan(0);
  expect(view).toMatchObject({ state: 'rolled_back', from: 'a', to: 'b' });
  return view;
}
