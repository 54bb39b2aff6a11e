/** The sidecar killed at each step of a handover, and what becomes of that. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HANDOVER_STEPS, type HandoverView } from '../../src/handover/views.ts';
import { bodyOf } from '../harness/admin.ts';
import { progress, say } from '../harness/processes.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { hasEnded, look, untilEnded } from './runs.ts';

/** A handover that nothing else drains steps through these, one after the other. */
export const STEPS = HANDOVER_STEPS.filter((step) => step !== 'waiting');
type Step = (typeof STEPS)[number];

/** The short steps are missed now and then; after so many kills they are given up. */
const MOST_KILLS = 40;

/**
 * Up to here after a long step was seen, so that it is not always killed where it begins; the others
 * are over in a few milliseconds, and are killed at once.
 */
const WITHIN_MS: Partial<Record<Step, number>> = { starting: 500, draining: 1500 };
/** Up to here the sidecar stays away. */
const AWAY_MS = 500;
/** For what is left of a handover: SIDECAR_HANDOVER_TIMEOUT, the probation, and a start. */
const PATIENCE_MS = 420_000;

/** Without clients there is nothing to drain: a handover stays `draining` for so long. */
const SETTINGS = { SIDECAR_PROBATION: '3s' };

export interface KillFigures {
  /** By the step that was seen last. */
  readonly hits: Readonly<Record<Step, number>>;
  /** Handovers that were finished all the same, and those that were not. */
  readonly done: number;
  readonly rolledBack: number;
  readonly violations: readonly string[];
}

const indexOf = (state: string): number => (STEPS as readonly string[]).indexOf(state);

/** A view at a random moment of a step, which is looked for as fast as answers come. */
async function untilStep(gateway: Gateway, asked: HandoverView, step: Step) {
  let view = asked;
  while (!hasEnded(view) && indexOf(view.state) < indexOf(step)) {
    view = await look(gateway.admin(), asked.id);
  }
  const withinMs = WITHIN_MS[step];
  if (withinMs === undefined) return view;
  await sleep(Math.random() * withinMs);
  return await look(gateway.admin(), asked.id);
}

/** The step that was met least. */
const rarest = (hits: Readonly<Record<Step, number>>): Step =>
  STEPS.reduce((found, step) => (hits[step] < hits[found] ? step : found));

/** @param kills at the least */
export async function measureKills(
  folder: string,
  { kills, ...options }: { bin: string; key: string; kills: number },
): Promise<KillFigures> {
  const gateway = await startGateway(folder, { ...options, settings: SETTINGS });
  const hits = { staged: 0, starting: 0, verified: 0, switched: 0, draining: 0 };
  const ends = { done: 0, rolled_back: 0 };
  const violations: string[] = [];
  for (let kill = 0; kill < MOST_KILLS; kill += 1) {
    const wanted = rarest(hits);
    if (kill >= kills && hits[wanted] > 0) break;
    progress(`kill ${kill + 1}, at ${wanted}`);
    const asked = bodyOf(await gateway.admin().handOver('rotate'), 'a handover');
    const { state: at } = await untilStep(gateway, asked, wanted);
    await gateway.killSidecar();
    await sleep(Math.random() * AWAY_MS);
    await gateway.startSidecarAgain();
    const { state } = await untilEnded(gateway.admin(), asked.id, PATIENCE_MS);
    if (state === 'done' || state === 'rolled_back') ends[state] += 1;
    const step = STEPS[indexOf(at)];
    if (step !== undefined) hits[step] += 1;
    const wrong = await gateway.inspect();
    violations.push(...wrong.map((what) => `killed while ${at}: ${what}`));
    if (wrong.length > 0) for (const line of [...wrong, ...gateway.lastWords()]) say(`  ${line}`);
  }
  await gateway.stop();
  return { hits, violations, done: ends.done, rolledBack: ends.rolled_back };
}
