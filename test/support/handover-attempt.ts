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

/** Tries a handover that must fail; those who are served meanwhile never notice. */
export async function failing(
  stage: HandoverStage,
  attempt: () => Promise<HandoverView>,
): Promise<HandoverView> {
  await stage.rests();
  const client = keepAsking(stage);
  const view = await attempt();
  await stage.rests();
  const { served, wrong } = await client.stop();
  expect(wrong).toEqual([]);
  expect(served).toBeGreaterThan(0);
  expect(view).toMatchObject({ state: 'rolled_back', from: 'a', to: 'b' });
  return view;
}
