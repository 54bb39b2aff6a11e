/**
 * What a load sees, apart for each phase of a run. What lies between two phases is a phase like the
 * others, so that whatever goes wrong there is not lost.
 *
 * @typedef {'without' | 'with' | 'between'} Phase the same load without rotations, with them, or
 *   neither: warming up, and one passing into the other
 */

/**
 * @template T
 * @param {() => T} create
 * @param {(all: T, more: T) => void} add
 */
export function createTallies(create, add) {
  const begin = (/** @type {Phase} */ phase) => ({ phase, ms: 0, seen: create() });
  const all = { without: begin('without'), with: begin('with'), between: begin('between') };
  let current = begin('between');
  /** Those that are not settled yet. */
  let open = [current];
  let from = performance.now();
  const turnTo = (/** @type {Phase} */ phase) => {
    const at = performance.now();
    current.ms += at - from;
    from = at;
    current = begin(phase);
    open.push(current);
  };
  const settle = (/** @type {boolean} */ counts) => {
    turnTo('between');
    for (const { phase, ms, seen } of open) {
      const whole = all[counts ? phase : 'between'];
      whole.ms += ms;
      add(whole.seen, seen);
    }
    open = [current];
  };
  return {
    /** Of the phase that it is. */
    now: () => current.seen,
    turnTo,
    /** Those phases since the last time count as what they are, or as what lies between phases. */
    settle,
    /**
     * @template R
     * @param {(seen: T, ms: number) => R} figuresOf
     * @returns {Record<Phase, R>}
     */
    figures(figuresOf) {
      settle(true);
      const of = (/** @type {Phase} */ phase) => figuresOf(all[phase].seen, all[phase].ms);
      return { without: of('without'), with: of('with'), between: of('between') };
    },
  };
}
