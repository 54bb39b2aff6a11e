/** Sidecar, launcher and LiteLLM killed in the middle of handovers, and what becomes of those. */
import { setTimeout as sleep } from 'node:timers/promises';
import { reason } from '../own-folder.js';
import { inspect } from './aftermath.js';
import { askFor, createFollower, hasEnded, look, STEPS } from './follow.js';
import { startGateway } from './gateway.js';

/** Of the sidecar: twice a step, or more where the short ones are missed, and then given up. */
const LEAST_KILLS = 10;
const MOST_KILLS = 30;

/** Up to here after a step was seen, so that none is always killed where it begins; milliseconds. */
const WITHIN_MS = { staged: 2, starting: 6000, verified: 2, switched: 2, draining: 2000 };
/** Up to here what was killed stays away. */
const AWAY_MS = 1000;
/** The launcher looks each half second. */
const BEGUN_MS = 3000;

/** For what is left of a handover: SIDECAR_HANDOVER_TIMEOUT, the probation, and a start. */
const PATIENCE_MS = 420_000;

/** Without clients nothing is there to be drained: a handover stays `draining` for so long. */
const PROBATION = '3s';

/** @typedef {import('./follow.js').Step} Step */
/** @typedef {'sidecar' | 'launcher' | 'the old LiteLLM' | 'the new LiteLLM'} Victim */

/**
 * @typedef {object} KillFigures
 * @property {Record<Step, number>} hits of the sidecar, by the step that was seen last
 * @property {number} others kills of launcher and LiteLLM
 * @property {number} done handovers that were finished all the same
 * @property {number} rolledBack
 * @property {readonly string[]} violations
 */

/** The others, each where a LiteLLM starts and where one is drained. */
const OTHERS = /** @type {readonly (readonly [Victim, Step])[]} */ ([
  ['launcher', 'starting'],
  ['launcher', 'draining'],
  ['the old LiteLLM', 'starting'],
  ['the new LiteLLM', 'starting'],
  ['the old LiteLLM', 'draining'],
  ['the new LiteLLM', 'draining'],
]);

const indexOf = (/** @type {string} */ state) =>
  /** @type {readonly string[]} */ (STEPS).indexOf(state);

/** @typedef {import('./follow.js').HandoverView} View */

/** The view at a random moment of a step, which is looked for as fast as answers come. @param {import('./gateway.js').Gateway} gateway @param {View} asked @param {Step} step */
async function untilStep(gateway, asked, step) {
  let view = asked;
  while (!hasEnded(view) && indexOf(view.state) < indexOf(step)) {
    view = await look(gateway.admin(), asked.id);
  }
  const withinMs = WITHIN_MS[step];
  // Half of the kills of a short step come at once: it may be over by any other time.
  if (withinMs < 10 && Math.random() < 0.5) return view;
  await sleep(Math.random() * withinMs);
  return withinMs < 10 ? view : await look(gateway.admin(), asked.id);
}

/** @param {import('./gateway.js').Gateway} gateway @param {Victim} victim @param {View} view */
async function killAndStart(gateway, victim, view) {
  const away = () => sleep(Math.random() * AWAY_MS);
  if (victim === 'sidecar') {
    await gateway.killSidecar();
    await away();
    await gateway.startSidecarAgain();
  } else if (victim === 'launcher') {
    await gateway.killLauncher();
    await away();
    gateway.startLauncherAgain();
  } else {
    const slot = victim === 'the old LiteLLM' ? view.from : view.to;
    // Its slot may be there, and its LiteLLM not begun; or it went, and is not there to be killed.
    const from = performance.now();
    while (!gateway.killLitellm(slot) && performance.now() - from < BEGUN_MS) await sleep(20);
  }
}

/**
 * @param {import('./gateway.js').Gateway} gateway
 * @param {Victim} victim
 * @param {Step} step
 * @returns {Promise<{at: string, end: string, wrong: string[]}>}
 */
async function killOnce(gateway, victim, step) {
  const asked = await askFor(gateway.admin());
  const view = await untilStep(gateway, asked, step);
  await killAndStart(gateway, victim, view);
  const follower = createFollower(asked.id);
  await follower.until(gateway.admin(), hasEnded, PATIENCE_MS);
  return { at: view.state, end: follower.figures().state, wrong: await inspect(gateway) };
}

/** The step that was met least. @param {Record<Step, number>} hits */
const rarest = (hits) =>
  STEPS.reduce((found, step) => (hits[step] < hits[found] ? step : found), STEPS[0]);

/**
 * @param {string} folder
 * @param {{key: string, say: (text: string) => void}} given
 * @returns {Promise<KillFigures>}
 */
export async function measureKills(folder, { key, say }) {
  const gateway = await startGateway(folder, { key, settings: { SIDECAR_PROBATION: PROBATION } });
  /** @type {Record<Step, number>} */
  const hits = { staged: 0, starting: 0, verified: 0, switched: 0, draining: 0 };
  const ends = { done: 0, rolledBack: 0 };
  /** @type {string[]} */
  const violations = [];

  let others = 0;
  let doing = '';

  const strike = async (/** @type {Victim} */ victim, /** @type {Step} */ step) => {
    doing = `${victim} to be killed while ${step}`;
    const { at, end, wrong } = await killOnce(gateway, victim, step);
    ends[end === 'done' ? 'done' : 'rolledBack'] += 1;
    violations.push(...wrong.map((what) => `${victim} killed while ${at}: ${what}`));
    say(`  ${victim} killed while ${at}: ${end}`);
    for (const what of wrong) say(`    ${what}`);
    if (wrong.length > 0) for (const line of gateway.lastWords()) say(`    ${line}`);
    return at;
  };
  const strikeAll = async () => {
    for (let kill = 0; kill < MOST_KILLS; kill += 1) {
      if (kill >= LEAST_KILLS && hits[rarest(hits)] > 0) break;
      const at = await strike('sidecar', rarest(hits));
      const step = STEPS[indexOf(at)];
      if (step !== undefined) hits[step] += 1;
    }
    for (const [victim, step] of OTHERS) {
      await strike(victim, step);
      others += 1;
    }
  };

  try {
    await strikeAll();
  } catch (error) {
    // Nothing can be asked of it any more; what was found before is worth having.
    const what = `${doing}: ${reason(error)}`;
    violations.push(what);
    for (const line of [what, ...gateway.lastWords()]) say(`  ${line}`);
  }
  await gateway.stop();
  return { hits, others, violations, ...ends };
}
