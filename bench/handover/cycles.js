/** What happens beside the load: handovers in a row, or a second LiteLLM that comes and goes. */

import { askFor, createFollower, hasEnded } from './follow.js';
import { untilAnswers, untilGone } from './litellm.js';
import { placeSlot, removeSlot } from './slot-folder.js';
import { wallMs } from './timed.js';

/**
 * @typedef {object} Cycle instants in milliseconds of the wall clock
 * @property {import('./timed.js').Span} starting while the second LiteLLM started
 * @property {number | undefined} switchedAt
 * @property {import('./timed.js').Span} whole
 * @property {import('./follow.js').Followed | undefined} handover
 *
 * @typedef {object} Round what one run needs
 * @property {import('./gateway.js').Gateway} gateway
 * @property {number} count of cycles
 * @property {() => Promise<unknown>} streams begins a cycle's streams; resolves when all have ended
 * @property {(cycle: Cycle, number: number) => void} onCycle
 */

const isDraining = (/** @type {import('./follow.js').HandoverView} */ view) =>
  view.state === 'draining' || hasEnded(view);

/** @param {import('./follow.js').Followed} handover @param {number} from @returns {Cycle} */
function cycleOf(handover, from) {
  const { startedAt, switchedAt } = handover;
  const started = { from: startedAt, to: switchedAt ?? Number.NaN };
  return { starting: started, switchedAt, whole: { from, to: wallMs() }, handover };
}

/**
 * The next one is asked for while the one before drains, as an operator would whose turn comes
 * later: it waits, and begins when the streams of the one before have ended. So do the streams
 * that it has to leave alone.
 * @param {Round} round
 */
export async function handOverInARow({ gateway, count, streams, onCycle }) {
  const admin = gateway.admin();
  const flow = () => {
    const all = streams();
    // Whoever waits for them hears of it; before that something else may fail.
    all.catch(() => undefined);
    return all;
  };
  let flowing = flow();
  let asked = await askFor(admin);
  for (let number = 1; number <= count; number += 1) {
    const from = wallMs();
    const follower = createFollower(asked.id);
    await follower.until(admin, isDraining);
    const last = number === count;
    if (!last) asked = await askFor(admin);
    await flowing;
    if (!last) flowing = flow();
    await follower.until(admin, hasEnded);
    onCycle(cycleOf(follower.figures(), from), number);
  }
}

/**
 * As many starts and ends of a LiteLLM, and no switch; streams follow each other all the while.
 * @param {Round} round
 */
export async function startInARow({ gateway, count, streams, onCycle }) {
  const { slots, slot, port, config } = gateway.beside();
  let going = true;
  const flow = async () => {
    while (going) await streams();
  };
  const flowing = flow();
  // Whoever waits below hears of it.
  flowing.catch(() => undefined);
  try {
    for (let number = 1; number <= count; number += 1) {
      const from = wallMs();
      placeSlot(slots, slot, config);
      await untilAnswers(port);
      const starting = { from, to: wallMs() };
      removeSlot(slots, slot);
      await untilGone(slots, slot);
      const whole = { from, to: wallMs() };
      onCycle({ starting, switchedAt: undefined, whole, handover: undefined }, number);
    }
  } finally {
    going = false;
  }
  await flowing;
}
