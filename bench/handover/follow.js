/** One handover, from the asking to its end, as the admin API tells of it. */
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {object} HandoverView what is read here of views.ts
 * @property {string} id
 * @property {string} state
 * @property {'a' | 'b'} from
 * @property {'a' | 'b'} to
 * @property {string} stateSince
 * @property {string | null} switchedAt
 * @property {string | null} endedAt
 * @property {{code: string, message: string} | null} fault
 * @property {number} cut
 */

export const STEPS = /** @type {const} */ ([
  'staged',
  'starting',
  'verified',
  'switched',
  'draining',
]);
/** @typedef {(typeof STEPS)[number]} Step */

const ENDS = ['done', 'rolled_back'];

/** Often while steps are short, so that few go unseen; a drain lasts as long as a stream. */
const LOOK_MS = 20;
const LOOK_DRAINING_MS = 200;

/** Longer than any step: SIDECAR_HANDOVER_TIMEOUT is 5 m. */
const PATIENCE_MS = 900_000;

/** @param {{status: number, body: any}} answer @param {string} what @returns {HandoverView} */
export function viewIn({ status, body }, what) {
  if (status >= 200 && status < 300) return body;
  throw new Error(`${what}: ${status} ${body.code} ${body.detail ?? ''}`);
}

export const hasEnded = (/** @type {HandoverView} */ { state }) => ENDS.includes(state);

/** @typedef {import('../rotation/admin.js').Admin} Admin */

/** @param {Admin} admin */
export const askFor = async (admin) => viewIn(await admin.handOver(), 'a handover');

/** @param {Admin} admin @param {string} id */
export const look = async (admin, id) => viewIn(await admin.handover(id), id);

/**
 * @param {string} id
 * @returns what watches it, and remembers when each step began
 */
export function createFollower(id) {
  /** @type {Map<string, number>} */
  const began = new Map();
  /** @type {HandoverView | undefined} */
  let last;

  const note = (/** @type {HandoverView} */ view) => {
    last = view;
    began.set(view.state, Date.parse(view.stateSince));
    // The step itself may be over between two looks.
    if (view.switchedAt !== null) began.set('switched', Date.parse(view.switchedAt));
    if (view.endedAt !== null) began.set('end', Date.parse(view.endedAt));
  };

  return {
    id,
    note,
    /**
     * Looks until it has come so far.
     * @param {Admin} admin
     * @param {(view: HandoverView) => boolean} far
     */
    async until(admin, far, patienceMs = PATIENCE_MS) {
      const from = performance.now();
      for (;;) {
        const view = await look(admin, id);
        note(view);
        if (far(view)) return view;
        if (performance.now() - from > patienceMs) throw new Error(`${id} stays ${view.state}`);
        await sleep(view.state === 'draining' ? LOOK_DRAINING_MS : LOOK_MS);
      }
    },
    /** @returns {Followed} */
    figures: () => ({
      ...{ id, state: last?.state ?? 'unknown', fault: last?.fault?.code, cut: last?.cut ?? 0 },
      ...{ switchedAt: began.get('switched'), stepMs: stepMs(began) },
      startedAt: began.get('staged') ?? began.get('starting') ?? Number.NaN,
    }),
  };
}

/** A step that no look met is part of the one before. @param {Map<string, number>} began */
function stepMs(began) {
  const instants = [...STEPS, 'end'].flatMap((step) => {
    const at = began.get(step);
    return at === undefined ? [] : [{ step, at }];
  });
  const spans = instants.slice(0, -1).map(({ step, at }, i) => {
    return [step, (instants[i + 1]?.at ?? Number.NaN) - at];
  });
  return Object.fromEntries(spans);
}

/**
 * @typedef {object} Followed instants in milliseconds of the wall clock
 * @property {string} id
 * @property {string} state how it ended
 * @property {string | undefined} fault
 * @property {number} cut
 * @property {number} startedAt
 * @property {number | undefined} switchedAt
 * @property {Record<string, number>} stepMs of the steps that were seen
 */
