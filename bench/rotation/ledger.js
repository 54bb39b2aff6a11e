/**
 * What a client of the API may rely on, written down as it is told: which keys were handed out,
 * which were revoked, and which deadlines were printed. It never asks the sidecar what is right.
 */

/** Instants this near to an end are left alone: two clocks are read, and requests take time. */
const MARGIN_MS = 300;

/**
 * @typedef {import('./admin.js').GenerationView} GenerationView
 *
 * @typedef {object} Entry instants in milliseconds since the epoch
 * @property {string} id
 * @property {string} key
 * @property {number} number
 * @property {boolean} revoked it was answered that it is
 * @property {boolean} ended it was printed that it is
 * @property {boolean} unsure a call whose answer never came may have ended it
 * @property {number | undefined} graceMs of the rotation that replaced it
 * @property {number | undefined} laterUseAt the earliest instant at which a later key may have been used first
 * @property {number | undefined} deadline as it was printed
 *
 * @typedef {'must work' | 'must not work' | 'either'} Verdict
 */

/** @param {string} firstKey the declared one, master-1 */
export function createLedger(firstKey) {
  /** @type {Map<string, Entry>} */
  const entries = new Map();

  const numberOf = (/** @type {string} */ id) => Number(id.slice(id.lastIndexOf('-') + 1));
  const add = (/** @type {string} */ id, /** @type {string} */ key) => {
    const number = numberOf(id);
    const flags = { revoked: false, ended: false, unsure: false };
    const unknown = { graceMs: undefined, laterUseAt: undefined, deadline: undefined };
    entries.set(id, { id, key, number, ...flags, ...unknown });
  };
  const newest = () => [...entries.values()].reduce((a, b) => (a.number > b.number ? a : b));
  add('master-1', firstKey);

  return {
    /** Oldest first. */
    entries: () => [...entries.values()].sort((a, b) => a.number - b.number),
    newest,
    /**
     * A key was handed out; the one before it has this grace from now on.
     * @param {{id: string, key: string, graceMs: number, compromised: boolean}} rotation
     */
    handedOut({ id, key, graceMs, compromised }) {
      const before = newest();
      if (before.graceMs === undefined) before.graceMs = graceMs;
      if (compromised) for (const entry of entries.values()) entry.revoked = true;
      add(id, key);
    },
    /** @param {string} id */
    revoked(id) {
      const entry = entries.get(id);
      if (entry !== undefined) entry.revoked = true;
    },
    /** @param {string} id */
    ended(id) {
      const entry = entries.get(id);
      if (entry !== undefined) entry.ended = true;
    },
    /** @param {string | undefined} id undefined: all that there are */
    maybeEnded(id) {
      for (const entry of entries.values()) {
        if (id === undefined || entry.id === id) entry.unsure = true;
      }
    },
    /** A request with this key is about to be sent: older keys' clocks may start. @param {string} id */
    used(id, now = Date.now()) {
      const number = numberOf(id);
      for (const entry of entries.values()) {
        if (entry.number < number) entry.laterUseAt ??= now;
      }
    },
    /**
     * Compares what is printed now with what was printed before, and remembers it.
     * @param {readonly GenerationView[]} views
     * @returns {string[]} what has moved
     */
    printed(views) {
      return views.flatMap((view) => {
        const entry = entries.get(view.id);
        return entry === undefined ? [] : compare(entry, view);
      });
    },
  };
}

/** @typedef {ReturnType<typeof createLedger>} Ledger */

/** @param {Entry} entry @returns {Verdict} */
export function verdictOn(entry, now = Date.now()) {
  const { deadline, unsure } = entry;
  if (entry.revoked || entry.ended) return 'must not work';
  if (deadline !== undefined && now >= deadline + MARGIN_MS) return 'must not work';
  return !unsure && now < leastEnd(entry) - MARGIN_MS ? 'must work' : 'either';
}

/** @param {Entry} entry @returns the earliest instant at which it may have ended */
function leastEnd({ deadline, laterUseAt, graceMs }) {
  if (deadline !== undefined) return deadline;
  // A key that was not replaced has no end, and no clock starts before a later key is used.
  if (graceMs === undefined) return Number.POSITIVE_INFINITY;
  if (graceMs === 0) return Number.NEGATIVE_INFINITY;
  return laterUseAt === undefined ? Number.POSITIVE_INFINITY : laterUseAt + graceMs;
}

/** @param {Entry} entry @param {GenerationView} view @returns {string[]} what has moved */
function compare(entry, { id, state, validUntil, clockStarted }) {
  const isValid = state === 'active' || state === 'retiring';
  if (isValid && (entry.revoked || entry.ended)) return [`${id} had ended, and is ${state}`];
  if (!isValid) entry.ended = true;
  if (state === 'revoked') return [];
  if (validUntil === null || !clockStarted) {
    // A key that ends with its rotation has no clock.
    return entry.deadline === undefined || !isValid ? [] : [`the clock of ${id} stands still`];
  }
  const deadline = Date.parse(validUntil);
  const before = entry.deadline;
  entry.deadline = deadline;
  if (before === undefined) {
    const { laterUseAt = 0, graceMs = 0 } = entry;
    const shortMs = laterUseAt + graceMs - deadline;
    return shortMs > MARGIN_MS ? [`the grace of ${id} is ${shortMs} ms short`] : [];
  }
  if (before === deadline) return [];
  return [`the deadline of ${id} moved by ${deadline - before} ms`];
}
