import { describe, expect, it } from 'vitest';
import {
  lastingSince,
  type Observation,
  type ObservedSlot,
} from '../../src/handover/observation.ts';
import { type Action, plan } from '../../src/handover/plan.ts';
import type { UpstreamState } from '../../src/handover/state.ts';
import type { Verdict } from '../../src/litellm/verify.ts';
import {
  checked,
  empty,
  GOOD,
  handingOver,
  LIMITS,
  MINUTE,
  placed,
  report,
  SILENT,
  START,
  seeing,
  serving,
} from './scene.ts';

const next = (state: UpstreamState, seen: Observation, after = 0): Action =>
  plan(state, seen, START + after, LIMITS);

/** The state that is stored next; fails where something else comes first. */
const stored = (...args: Parameters<typeof next>): UpstreamState => {
  const action = next(...args);
  if (action.kind !== 'store') throw new Error(`not stored, but ${JSON.stringify(action)}`);
  return action.state;
};
const faultOf = (...args: Parameters<typeof next>) => stored(...args).ended.at(-1)?.fault;

const candidate = (changes: Partial<ObservedSlot> = {}): Observation =>
  seeing(placed('a'), placed('b', changes));

describe('at rest', () => {
  it('waits', () => {
    expect(next(serving(), seeing(placed('a'), empty()))).toEqual({ kind: 'wait' });
  });

  it('gives the active slot a key and a folder where one is missing', () => {
    expect(next(serving(), seeing(empty(), empty()))).toMatchObject({ kind: 'makeKey', slot: 'a' });
    const noFolder = placed('a', { folder: 'none' });
    const place = { kind: 'place', slot: 'a', config: 'setting' };
    expect(next(serving(), seeing(noFolder, empty()))).toEqual(place);
    expect(next(serving(), seeing(placed('a', { folder: 'damaged' }), empty()))).toEqual(place);
    expect(next(serving(), seeing(placed('a', { keyDigest: 'x' }), empty()))).toEqual(place);
  });

  it.each([
    ['a folder and a key', placed('b')],
    ['a key alone', placed('b', { folder: 'none' })],
    ['a folder alone', placed('b', { keyDigest: undefined })],
    ['a damaged folder', empty({ folder: 'damaged' })],
  ])('clears the idle slot of %s', (_, slot) => {
    expect(next(serving(), seeing(placed('a'), slot))).toEqual({ kind: 'clear', slot: 'b' });
  });

  it('lets nothing that is in hand in the idle slot run into the end of its LiteLLM', () => {
    const load = { requests: 1, websockets: 0, mcpSessions: 0 };
    const busy = placed('b', { load });
    expect(next(serving(), seeing(placed('a'), busy))).toEqual({ kind: 'endTraffic', slot: 'b' });
    const told = placed('b', { load, cut: 1 });
    expect(next(serving(), seeing(placed('a'), told))).toEqual({ kind: 'clear', slot: 'b' });
  });

  it('remembers that the LiteLLM of a first start came up', () => {
    const state = serving({ verifiedAt: undefined });
    const good = seeing(placed('a', { check: checked(GOOD) }), empty());
    expect(stored(state, good, 7)).toEqual({ ...state, verifiedAt: START + 7 });
    expect(next(state, seeing(placed('a', { check: checked(SILENT) }), empty()))).toEqual({
      kind: 'wait',
    });
  });

  it('sends new requests where the state says, and first of all', () => {
    const seen = seeing(placed('a'), placed('b'), { trafficAt: 'b' });
    expect(next(serving(), seen)).toEqual({ kind: 'switchTraffic', slot: 'a' });
  });
});

describe('before the switch', () => {
  it('waits a little for the models of the LiteLLM that serves', () => {
    const seen = seeing(placed('a'), placed('b', { folder: 'none' }));
    expect(next(handingOver('staged'), seen)).toEqual({ kind: 'wait' });
    expect(stored(handingOver('staged'), seen, 5000).handover).toMatchObject({ step: 'starting' });
    const good = seeing(placed('a', { check: checked(GOOD) }), placed('b', { folder: 'none' }));
    expect(stored(handingOver('staged'), good).handover).toMatchObject({
      step: 'starting',
      modelsBefore: ['mock'],
    });
  });

  it('makes a key anew where a crash left none: a copy for a reload', () => {
    const seen = seeing(placed('a'), empty());
    const make = { kind: 'makeKey', slot: 'b' };
    for (const step of ['staged', 'starting'] as const) {
      expect(next(handingOver(step), seen)).toEqual({ ...make, copyOf: undefined });
      expect(next(handingOver(step, { kind: 'reload' }), seen)).toEqual({ ...make, copyOf: 'a' });
      expect(next(handingOver(step, { kind: 'dry-run' }), seen)).toEqual({ ...make, copyOf: 'a' });
    }
  });

  it('rotates with what the active slot runs with, and reloads what is set', () => {
    const seen = seeing(placed('a'), placed('b', { folder: 'none' }));
    const place = { kind: 'place', slot: 'b' };
    expect(next(handingOver('starting'), seen)).toEqual({ ...place, config: 'a' });
    const reload = handingOver('starting', { kind: 'reload' });
    expect(next(reload, seen)).toEqual({ ...place, config: 'setting' });
  });

  it('compares models, and keeps which content and which start was good', () => {
    const state = handingOver('starting', { modelsBefore: ['mock', 'old'] });
    const models = ['mock', 'new'];
    const good = candidate({ check: checked({ kind: 'good', models }), report: report('b') });
    expect(stored(state, good).handover).toMatchObject({
      step: 'verified',
      models: { listed: 2, added: ['new'], vanished: ['old'] },
      verifiedId: 'id-b',
      attempt: 1,
    });
  });

  it('switches to what is good now, and to nothing else', () => {
    const state = handingOver('verified', { verifiedId: 'id-b' });
    const after = stored(state, candidate({ check: checked(GOOD) }), 9);
    expect(after).toMatchObject({ active: 'b', verifiedAt: START + 9 });
    expect(after.handover).toMatchObject({ step: 'switched', fromVerifiedAt: START });
    // A process that has just begun has not checked LiteLLM yet.
    expect(next(state, candidate())).toEqual({ kind: 'wait' });
    const other = handingOver('verified', { verifiedId: 'another' });
    expect(stored(other, candidate({ check: checked(GOOD) })).handover?.step).toBe('starting');
  });

  it('ends a dry run where another one would switch', () => {
    const state = handingOver('verified', { kind: 'dry-run', verifiedId: 'id-b' });
    const after = stored(state, candidate({ check: checked(GOOD) }));
    expect(after).toMatchObject({ active: 'a', handover: undefined, ended: [{ end: 'done' }] });
  });

  it('forgets what it refused once another configuration is switched to', () => {
    const seen = candidate({ check: checked(GOOD) });
    const refused = { refusedConfig: 'broken' };
    const reload = handingOver('verified', { kind: 'reload', verifiedId: 'id-b' }, refused);
    expect(stored(reload, seen).refusedConfig).toBeUndefined();
    const rotate = handingOver('verified', { verifiedId: 'id-b' }, refused);
    expect(stored(rotate, seen).refusedConfig).toBe('broken');
  });
});

describe('giving up', () => {
  const wrong: readonly Verdict[] = [
    { kind: 'refuses_key', status: 401 },
    { kind: 'accepts_any_key' },
    { kind: 'no_models' },
    { kind: 'not_litellm', status: 404 },
  ];

  it.each(wrong)('takes $kind for a fault once it has lasted five seconds', (verdict) => {
    const lasting = candidate({ check: checked(verdict, START, 2) });
    expect(next(handingOver('starting'), lasting, 4999)).toEqual({ kind: 'wait' });
    expect(faultOf(handingOver('starting'), lasting, 5000)?.code).toBe(verdict.kind);
    // One check alone may have met the one moment before the models were there.
    const once = candidate({ check: checked(verdict, START, 1) });
    expect(next(handingOver('starting'), once, 60_000)).toEqual({ kind: 'wait' });
  });

  it('names the line that sets a key of its own', () => {
    const check = checked({ kind: 'refuses_key', status: 401 }, START, 2);
    const fault = faultOf(handingOver('starting'), candidate({ check, masterKeyLine: 42 }), 5000);
    expect(fault).toMatchObject({
      message: 'LiteLLM in slot b refuses the key of its slot',
      hint: 'config.yaml line 42 sets master_key: let it be os.environ/LITELLM_MASTER_KEY, or remove the line',
    });
  });

  it('does not wait for one that ends again and again, and repeats its last words', () => {
    const ended = (attempt: number) =>
      candidate({ check: checked(SILENT), report: report('b', { attempt, endedWith: 1 }) });
    expect(next(handingOver('starting'), ended(1))).toEqual({ kind: 'wait' });
    expect(faultOf(handingOver('starting'), ended(2))).toMatchObject({
      code: 'died',
      lastWords: ['a last word'],
    });
    const third = candidate({ report: report('b', { attempt: 3 }) });
    expect(faultOf(handingOver('starting'), third)?.code).toBe('died');
  });

  it('takes one that came up at its third start all the same', () => {
    const seen = candidate({ check: checked(GOOD), report: report('b', { attempt: 3 }) });
    expect(stored(handingOver('starting'), seen).handover).toMatchObject({ attempt: 3 });
  });

  it('sees that it listens on another port', () => {
    const elsewhere = { report: report('b', { port: 51_000 }), portSince: START };
    expect(next(handingOver('starting'), candidate(elsewhere), 4999)).toEqual({ kind: 'wait' });
    expect(faultOf(handingOver('starting'), candidate(elsewhere), 5000)).toMatchObject({
      code: 'other_port',
      message: 'LiteLLM in slot b listens on port 51000, and not on 4002',
    });
    const right = { report: report('b', { port: 4002 }), portSince: START };
    expect(next(handingOver('starting'), candidate(right), 5000)).toEqual({ kind: 'wait' });
  });

  it('ends when the time is over: with what the last check showed', () => {
    const silent = candidate({ check: checked(SILENT) });
    const { handoverTimeoutMs } = LIMITS;
    expect(next(handingOver('starting'), silent, handoverTimeoutMs - 1)).toEqual({ kind: 'wait' });
    expect(faultOf(handingOver('starting'), silent, handoverTimeoutMs)?.code).toBe('not_up');
    expect(faultOf(handingOver('starting'), candidate(), handoverTimeoutMs)?.code).toBe('not_up');
    const late = candidate({ check: checked({ kind: 'no_models' }, START + 299_000) });
    expect(faultOf(handingOver('starting'), late, handoverTimeoutMs)?.code).toBe('no_models');
    const dead = handingOver('verified', { verifiedId: 'id-b' });
    expect(faultOf(dead, silent, handoverTimeoutMs)?.code).toBe('not_up');
  });

  it('counts the time from this process, and not from before it or from a clock that was wrong', () => {
    const { handoverTimeoutMs } = LIMITS;
    const seen = { ...candidate({ check: checked(SILENT) }), startedAt: START + 60 * MINUTE };
    const hour = 60 * MINUTE;
    expect(next(handingOver('starting'), seen, hour)).toEqual({ kind: 'wait' });
    expect(faultOf(handingOver('starting'), seen, hour + handoverTimeoutMs)?.code).toBe('not_up');
    const future = handingOver('starting', { stateSince: START + 1000 * hour });
    expect(next(future, seen, hour)).toEqual({ kind: 'wait' });
    expect(faultOf(future, seen, hour + handoverTimeoutMs)?.code).toBe('not_up');
  });

  it('counts no time in which this process was stopped', () => {
    const { handoverTimeoutMs } = LIMITS;
    const hour = 60 * MINUTE;
    const seen = { ...candidate({ check: checked(SILENT) }), resumedAt: START + hour };
    expect(next(handingOver('starting'), seen, hour)).toEqual({ kind: 'wait' });
    expect(faultOf(handingOver('starting'), seen, hour + handoverTimeoutMs)?.code).toBe('not_up');
    const slot = { check: checked(SILENT), portSince: START };
    expect(lastingSince(slot, START + hour)).toMatchObject({
      check: { verdict: SILENT, since: START + hour },
      portSince: START + hour,
    });
    expect(lastingSince(slot, undefined)).toEqual(slot);
  });

  it('says why a slot could not be written', () => {
    const failure = { code: 'disk', message: 'full', hint: 'free some space' } as const;
    const seen = seeing(placed('a'), placed('b', { folder: 'none', failure }));
    for (const step of ['staged', 'starting'] as const) {
      expect(faultOf(handingOver(step), seen)).toEqual({ ...failure, lastWords: [] });
    }
  });

  it('leaves the one that serves as it was, and does not try that configuration again', () => {
    const seen = candidate({ check: checked({ kind: 'no_models' }, START, 2) });
    const rotate = stored(handingOver('starting'), seen, 5000);
    expect(rotate).toMatchObject({ active: 'a', verifiedAt: START, handover: undefined });
    expect(rotate.refusedConfig).toBeUndefined();
    const reload = stored(handingOver('starting', { kind: 'reload' }), seen, 5000);
    expect(reload.refusedConfig).toBe('config');
    const dryRun = stored(handingOver('starting', { kind: 'dry-run' }), seen, 5000);
    expect(dryRun.refusedConfig).toBeUndefined();
  });
});

describe('after the switch', () => {
  const load = { requests: 2, websockets: 0, mcpSessions: 0 };
  /** Slot b serves, slot a was left. */
  const over = (
    a: Partial<ObservedSlot> = {},
    b: Partial<ObservedSlot> = {},
    changes: Partial<Observation> = {},
  ): Observation => seeing(placed('a', a), placed('b', b), { trafficAt: 'b', ...changes });
  const { probationMs, drainMs } = LIMITS;

  it('tells the traffic once it is stored, and then drains', () => {
    const state = handingOver('switched');
    const move = { kind: 'switchTraffic', slot: 'b' };
    expect(next(state, over({}, {}, { trafficAt: 'a' }))).toEqual(move);
    expect(stored(state, over()).handover?.step).toBe('draining');
  });

  it('keeps the one before for the probation, though it has nothing in hand', () => {
    const state = handingOver('draining');
    expect(next(state, over(), probationMs - 1)).toEqual({ kind: 'wait' });
    expect(next(state, over(), probationMs)).toEqual({ kind: 'endTraffic', slot: 'a' });
    expect(next(state, over({}, {}, { someoneWaits: true }))).toMatchObject({ kind: 'endTraffic' });
  });

  it('waits for what the one before has in hand, until the drain is over', () => {
    const state = handingOver('draining');
    const waits = over({ load }, {}, { someoneWaits: true });
    expect(next(state, waits, drainMs - 1)).toEqual({ kind: 'wait' });
    expect(next(state, waits, drainMs)).toEqual({ kind: 'endTraffic', slot: 'a' });
  });

  it('ends what is left, then takes the folder and the key, and then is done', () => {
    const state = handingOver('draining');
    const ended = over({ load, cut: 2 });
    expect(next(state, ended, drainMs)).toEqual({ kind: 'clear', slot: 'a' });
    const gone = seeing(empty({ cut: 2 }), placed('b'), { trafficAt: 'b' });
    const after = stored(state, gone, drainMs);
    expect(after.handover).toBeUndefined();
    expect(after.ended).toMatchObject([{ end: 'done', cut: 2, switchedAt: START }]);
  });

  it.each([
    ['its report says so', { report: report('b', { endedWith: 137 }) }],
    ['it was started once more', { report: report('b', { attempt: 2 }) }],
    ['it is silent for three seconds', { isUp: false, check: checked(SILENT, START - 3000) }],
  ])('goes back at once where the new one dies: %s', (_, dead) => {
    const state = handingOver('draining', { attempt: 1, fromVerifiedAt: 5, kind: 'reload' });
    const after = stored(state, over({ load }, dead), 0);
    expect(after).toMatchObject({ active: 'a', verifiedAt: 5, refusedConfig: 'config' });
    expect(after.ended).toMatchObject([
      { end: 'rolled_back', switchedAt: START, fault: { code: 'died_after_switch' } },
    ]);
    // The traffic first, then what is left of the dead one.
    const move = { kind: 'switchTraffic', slot: 'a' };
    expect(next(after, over({ load }, dead))).toEqual(move);
    const moved = over({ load }, dead, { trafficAt: 'a' });
    expect(next(after, moved)).toEqual({ kind: 'clear', slot: 'b' });
  });

  it.each([
    ['it is busy', { isUp: true, check: checked(SILENT, START - 9000) }],
    ['it is silent for a moment', { isUp: false, check: checked(SILENT, START - 2999) }],
    ['traffic has not seen it', { isUp: false, check: checked(GOOD) }],
    ['it had died before it was verified', { report: report('b', { attempt: 1 }) }],
  ])('does not go back where %s', (_, seen) => {
    expect(next(handingOver('draining', { attempt: 1 }), over({}, seen))).toEqual({ kind: 'wait' });
  });

  it('does not go back after the probation, nor to what is gone', () => {
    const dead = { report: report('b', { endedWith: 1 }) };
    const end = { kind: 'endTraffic', slot: 'a' };
    expect(next(handingOver('draining'), over({}, dead), probationMs)).toEqual(end);
    expect(next(handingOver('draining'), over({ folder: 'none' }, dead))).toEqual(end);
  });

  it('ends at one good verdict in a process that began since', () => {
    const state = handingOver('draining');
    const later = { startedAt: START + 1 };
    expect(next(state, over({}, {}, later), 2)).toEqual({ kind: 'wait' });
    const good = over({}, { check: checked(GOOD) }, later);
    expect(next(state, good, 2)).toEqual({ kind: 'endTraffic', slot: 'a' });
  });
});
