/**
 * What a load sees, apart for each phase of a run. What lies between two phases is a phase like the
 * others, so that whatever goes wrong there is not lost.
 *
 * @typedef {'without' | 'with' | 'between'} Phase the same load without rotations, with them, or
 *   neither: warming up, and one passing into the other
 */

/** @type {readonly Phase[]} */
const PHASES = ['without', 'with', 'between'];

/**
 * @template T
 * @param {() => T} create
 */
export function createTallies(create) {
  const all = Object.fromEntries(PHASES.map((phase) => [phase, { ms: 0, seen: create() }]));
  const of = (/** @type {Phase} */ phase) => /** @type {{ms: number, seen: T}} */ (all[phase]);
  let current = of('between');
  let from = performance.now();
  return {
    /** Of the phase that it is. */
    now: () => current.seen,
    turnTo(/** @type {Phase} */ phase) {
      const at = performance.now();
      current.ms += at - from;
      from = at;
      current = of(phase);
    },
    /**
     * @template R
     * @param {(seen: T, ms: number) => R} figuresOf
     * @returns {Record<Phase, R>}
     */
    figures: (figuresOf) => ({
      without: figuresOf(of('without').seen, of('without').ms),
      with: figuresOf(of('with').seen, of('with').ms),
      between: figuresOf(of('between').seen, of('between').ms),
    }),
  };
}
