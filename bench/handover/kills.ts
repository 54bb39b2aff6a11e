/** Sidecar, launcher and LiteLLM killed in the middle of handovers, and what becomes of those. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HANDOVER_STEPS, type HandoverView } from '../../src/handover/views.ts';
import { progress, reason, say } from '../harness/processes.ts';
import { bodyOf } from '../rotation/admin.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { hasEnded, look, untilEnded } from './runs.ts';

/** A handover that nothing else drains steps through these, one after the other. */
export const STEPS = HANDOVER_STEPS.filter((step) => step !== 'waiting');
type Step = (typeof STEPS)[number];

/** The short steps are missed now and then; after so many kills they are given up. */
const MOST_KILLS = 40;

/** Up to here after a step was seen, so that none is always killed where it begins; milliseconds. */
const WITHIN_MS: Readonly<Record<Step, number>> = {
  ...{ staged: 2, starting: 500, verified: 2, switched: 2, draining: 1500 },
};
/** Up to here what was killed stays away. */
const AWAY_MS = 500;
/** How long a LiteLLM is waited for whose slot is there; the launcher looks each half second. */
const BEGUN_MS = 3000;

/** For what is left of a handover: SIDECAR_HANDOVER_TIMEOUT, the probation, and a start. */
const PATIENCE_MS = 420_000;

/** Without clients there is nothing to drain: a handover stays `draining` for so long. */
const SETTINGS = { SIDECAR_PROBATION: '3s' };

type Victim = 'sidecar' | 'launcher' | 'the old LiteLLM' | 'the new LiteLLM';

/** The others, each where a LiteLLM starts and where one is drained. */
const OTHERS: readonly (readonly [Victim, Step])[] = [
  ['launcher', 'starting'],
  ['launcher', 'draining'],
  ['the old LiteLLM', 'starting'],
  ['the new LiteLLM', 'starting'],
  ['the old LiteLLM', 'draining'],
  ['the new LiteLLM', 'draining'],
];

export interface KillFigures {
  /** Of the sidecar, by the step that was seen last. */
  readonly hits: Readonly<Record<Step, number>>;
  /** Kills of launcher and LiteLLM. */
  readonly others: number;
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
  if (withinMs >= 10) {
    await sleep(Math.random() * withinMs);
    return await look(gateway.admin(), asked.id);
  }
  // Half of the kills of a short step come at once: it may be over by any other time.
  if (Math.random() < 0.5) await sleep(Math.random() * withinMs);
  return view;
}

async function killAndStart(gateway: Gateway, victim: Victim, view: HandoverView): Promise<void> {
  if (victim === 'sidecar') {
    await gateway.killSidecar();
    await sleep(Math.random() * AWAY_MS);
    await gateway.startSidecarAgain();
  } else if (victim === 'launcher') {
    await gateway.killLauncher();
    await sleep(Math.random() * AWAY_MS);
    gateway.startLauncherAgain();
  } else {
    const slot = victim === 'the old LiteLLM' ? view.from : view.to;
    // Its slot may be there, and its LiteLLM not begun; or it went, and is not there to be killed.
    const from = performance.now();
    while (!gateway.killLitellm(slot) && performance.now() - from < BEGUN_MS) await sleep(20);
  }
}

/** The step that was met least. */
const rarest = (hits: Readonly<Record<Step, number>>): Step =>
  STEPS.reduce((found, step) => (hits[step] < hits[found] ? step : found));

/** @param kills of the sidecar, at the least */
export async function measureKills(
  folder: string,
  { kills, ...options }: { bin: string; key: string; kills: number },
): Promise<KillFigures> {
  const gateway = await startGateway(folder, { ...options, settings: SETTINGS });
  const hits = { staged: 0, starting: 0, verified: 0, switched: 0, draining: 0 };
  const ends = { done: 0, rolledBack: 0 };
  const violations: string[] = [];
  let others = 0;
  let doing = '';

  const strike = async (victim: Victim, step: Step): Promise<string> => {
    doing = `${victim} to be killed while ${step}`;
    progress(doing);
    const asked = bodyOf(await gateway.admin().handOver('rotate'), 'a handover');
    const view = await untilStep(gateway, asked, step);
    await killAndStart(gateway, victim, view);
    const { state } = await untilEnded(gateway.admin(), asked.id, PATIENCE_MS);
    ends[state === 'done' ? 'done' : 'rolledBack'] += 1;
    const wrong = await gateway.inspect();
    violations.push(...wrong.map((what) => `${victim} killed while ${view.state}: ${what}`));
    if (wrong.length > 0) for (const line of [...wrong, ...gateway.lastWords()]) say(`  ${line}`);
    return view.state;
  };
  try {
    for (let kill = 0; kill < MOST_KILLS; kill += 1) {
      if (kill >= kills && hits[rarest(hits)] > 0) break;
      const step = STEPS[indexOf(await strike('sidecar', rarest(hits)))];
      if (step !== undefined) hits[step] += 1;
    }
    for (const [victim, step] of OTHERS) {
      await strike(victim, step);
      others += 1;
    }
  } catch (error) {
    // Nothing can be asked of it any more; what was found before is worth having.
    violations.push(`${doing}: ${reason(error)}`);
    for (const line of [violations.at(-1), ...gateway.lastWords()]) say(`  ${line}`);
  }
  await gateway.stop();
  return { hits, others, violations, ...ends };
}
