import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isEmpty, isIntact } from '../../src/handover/observation.ts';
import { plan } from '../../src/handover/plan.ts';
import { otherSlot } from '../../src/handover/state.ts';
import type { HandoverKind } from '../../src/handover/views.ts';
import { createWorld, type Weather } from './world.ts';

const KINDS: readonly HandoverKind[] = ['rotate', 'reload', 'dry-run'];

const ENDS = [
  ...['done rotate', 'done reload', 'done dry-run', 'rolled_back died_after_switch'],
  ...['rolled_back disk', 'rolled_back died', 'rolled_back not_up', 'rolled_back no_models'],
];

const rarely = <T>(value: T, otherwise: T) =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(otherwise) }, fc.constant(value));

const weather: fc.Arbitrary<Weather> = fc.record({
  afterMs: fc.constantFrom(250, 1000, 5000, 100_000, 700_000),
  verdict: fc.constantFrom('good', 'good', 'good', 'silent', 'none', 'refuses_key', 'no_models'),
  attempt: fc.constantFrom(1, 1, 1, 2, 3),
  hasEnded: rarely(true, false),
  isUp: rarely(false, true),
  load: fc.constantFrom(0, 0, 3),
  diskFails: rarely(true, false),
  store: fc.constantFrom('works', 'works', 'works', 'works', 'fails', 'half'),
  kill: fc.option(
    fc.record({
      at: fc.nat({ max: 4 }),
      where: fc.constantFrom('before', 'middle', 'after'),
    }),
    { nil: undefined, freq: 4 },
  ),
});

const step = fc.record({ ask: fc.option(fc.constantFrom(...KINDS), { freq: 3 }), weather });

/** What is wrong after this history, first of all; undefined: nothing. */
function fault(
  steps: readonly { ask: HandoverKind | null; weather: Weather }[],
  last: Weather,
  planner = plan,
  ends: Record<string, true> = {},
): string | undefined {
  const world = createWorld(planner);
  for (const { ask, weather: each } of steps) {
    if (ask !== null) world.ask(ask, each);
    world.tick(each);
    if (world.broken.length > 0) return world.broken[0];
  }
  world.rest(last);
  Object.assign(ends, world.ends);
  const { active, handover } = world.state();
  if (world.broken.length > 0) return world.broken[0];
  if (handover !== undefined) return `a handover ends in time: ${handover.step}`;
  const slots = world.slots();
  if (!isIntact(slots[active])) return 'the active slot is whole';
  return isEmpty(slots[otherSlot(active)]) ? undefined : 'one slot alone is in use at rest';
}

describe('handovers that are killed at any point, each act done twice', () => {
  it('keep one LiteLLM that serves, and come to an end', () => {
    const ends: Record<string, true> = {};
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), weather, (steps, last) => {
        expect(fault(steps, last, plan, ends)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
    // Else these histories would show little.
    expect(Object.keys(ends)).toEqual(expect.arrayContaining([...ENDS]));
  });

  it('would be found out if one switched to what a process before had found good', () => {
    const found = fc.check(
      fc.property(fc.array(step, { maxLength: 25 }), weather, (steps, last) => {
        expect(fault(steps, last, trusting)).toBeUndefined();
      }),
      { numRuns: 5000 },
    );
    expect(found.failed).toBe(true);
    expect(String(found.errorInstance)).toContain('a switch follows a good verdict');
  });
});

/** As `plan`, but believes the state about a LiteLLM that this process has not checked itself. */
const trusting: typeof plan = (state, seen, now, limits) => {
  if (state.handover?.step !== 'verified') return plan(state, seen, now, limits);
  const { to } = state.handover;
  const check = { verdict: { kind: 'good', models: [] }, since: now, count: 1 } as const;
  const slots = { ...seen.slots, [to]: { ...seen.slots[to], check } };
  return plan(state, { ...seen, slots }, now, limits);
};
