/** The sidecar killed at each step of a handover, and what becomes of that. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HANDOVER_STEPS, type HandoverView } from '../../src/handover/views.ts';
import { type Admin, bodyOf } from '../harness/admin.ts';
import type { Measured } from '../harness/bench.ts';
import { progress, say } from '../harness/processes.ts';
import { atLeast, none } from '../harness/report.ts';
import { hasEnded, look, startGateway, untilEnded } from './gateway.ts';

/** A handover that nothing else drains steps through these, one after the other. */
const STEPS = HANDOVER_STEPS.filter((step) => step !== 'waiting');
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

const indexOf = (state: string): number => (STEPS as readonly string[]).indexOf(state);

/** A view at a random moment of a step, which is looked for as fast as answers come. */
async function untilStep(admin: Admin, asked: HandoverView, step: Step) {
  let view = asked;
  while (!hasEnded(view) && indexOf(view.state) < indexOf(step)) {
    view = await look(admin, asked.id);
  }
  const withinMs = WITHIN_MS[step];
  if (withinMs === undefined) return view;
  await sleep(Math.random() * withinMs);
  return await look(admin, asked.id);
}

/**
 * @param options.bin a stand-in for LiteLLM
 * @param options.kills at the least
 */
export async function measureKills(
  folder: string,
  options: { bin: string; key: string; kills: number },
): Promise<Measured> {
  const gateway = await startGateway(folder, { ...options, settings: SETTINGS });
  const { admin } = gateway;
  /** By the step that was seen last. */
  const hits = { staged: 0, starting: 0, verified: 0, switched: 0, draining: 0 };
  const rarest = () => STEPS.reduce((found, step) => (hits[step] < hits[found] ? step : found));
  const ends = { done: 0, rolled_back: 0 };
  const violations: string[] = [];
  let kills = 0;
  for (; kills < MOST_KILLS && (kills < options.kills || hits[rarest()] === 0); kills += 1) {
    const wanted = rarest();
    progress(`kill ${kills + 1}, at ${wanted}`);
    const asked = bodyOf(await admin.handOver('rotate'), 'a handover');
    const { state: at } = await untilStep(admin, asked, wanted);
    await gateway.killSidecar(Math.random() * AWAY_MS);
    const { state } = await untilEnded(admin, asked.id, PATIENCE_MS);
    if (state === 'done' || state === 'rolled_back') ends[state] += 1;
    const step = STEPS[indexOf(at)];
    if (step !== undefined) hits[step] += 1;
    const wrong = await gateway.inspect();
    violations.push(...wrong.map((what) => `killed while ${at}: ${what}`));
    for (const what of wrong) say(`killed while ${at}: ${what}`);
  }
  await gateway.stop();
  const met = STEPS.filter((step) => hits[step] > 0).length;
  const left = 'after kills -9: handovers undone, folders, keys or LiteLLMs too many';
  const sentence = `- Kills, with a stand-in for LiteLLM that starts in no time: the sidecar ${kills} times -9, by the step that was seen last: ${STEPS.map((step) => `${step} ${hits[step]}`).join(', ')}. It was started again within half a second; ${ends.done} of these handovers were finished, ${ends.rolled_back} rolled back. After each, what stands in the slots folder and in state/upstream was compared, LiteLLMs were counted, and the client key was tried.`;
  const targets = [
    atLeast('steps at which the sidecar was killed', STEPS.length, '', met),
    none(left, violations.length),
  ];
  return { targets, text: [sentence] };
}
