import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Command, KeyringEvent } from '../../src/keyring/command.ts';
import { checkInvariants } from '../../src/keyring/invariants.ts';
import { digestOf, generateKey } from '../../src/keyring/key.ts';
import { EMPTY_KEYRING, idOf, type Keyring } from '../../src/keyring/keyring.ts';
import { findKey, snapshotOf } from '../../src/keyring/snapshot.ts';
import { transition } from '../../src/keyring/transition.ts';
import { checkHistory } from './history.ts';
import {
  answerTo,
  ends,
  LONGEST_GRACE,
  type NaiveOp,
  type NaiveState,
  naively,
  rpmOf,
  startsClock,
} from './naive-keyring.ts';

/** Time is counted in units of one, so that many things fall on the same instant. */
interface Model {
  state: NaiveState;
  /** As JSON, to see whether it changed. */
  text: string;
  wall: number;
  /** The latest instant of a change. */
  seen: number;
}

interface Real {
  keyring: Keyring;
}

const KEYS = Array.from({ length: 40 }, generateKey);
const DIGESTS = KEYS.map(digestOf);
const keyOf = (value: number): string => KEYS[value] ?? '';
const digestAt = (value: number): string => DIGESTS[value] ?? '';

function commandOf(op: NaiveOp): Command {
  switch (op.kind) {
    case 'stage':
      return {
        kind: 'stage',
        client: op.client,
        digest: digestAt(op.value),
        origin: op.file ? 'declared' : 'made',
        source: op.file ? 'file' : undefined,
        graceMs: op.grace,
        maxGraceMs: LONGEST_GRACE,
        compromised: op.leaked,
        idempotency: undefined,
      };
    case 'addClient':
      return {
        ...op,
        scopes: ['full'],
        allowFrom: [],
        namesEndUsers: false,
        limits: undefined,
        models: [],
        expiresAt: op.expiresAt ?? undefined,
      };
    case 'setClient': {
      const { expiresAt, rpm } = op;
      const changes = {
        ...(expiresAt !== undefined && { expiresAt: expiresAt ?? undefined }),
        ...(rpm !== undefined && { limits: { rpm: rpm ?? undefined } }),
      };
      return { kind: 'setClient', client: op.client, changes };
    }
    case 'fileClients': {
      const clients = op.clients.map(({ client: name, values, expiresAt, rpm }) => ({
        ...{ name, digests: values.map(digestAt), scopes: ['full' as const], allowFrom: [] },
        ...{ namesEndUsers: false, models: [], limits: limitsOf(rpm) },
        expiresAt: expiresAt ?? undefined,
      }));
      return { kind: 'fileClients', clients };
    }
    case 'revoke':
      return { kind: 'revoke', generation: idOf(op.client, op.number), compromised: false };
    case 'remember':
      return { kind: 'remember', source: 'dotenv', digest: digestAt(op.value) };
    default:
      return op as Command;
  }
}

const limitsOf = (rpm: number | null) =>
  rpm === null
    ? undefined
    : {
        ...{ rpm, parallel: undefined, tokensPerDay: undefined, usdPerDay: undefined },
        mode: 'refuse' as const,
      };

const LOGGED = new Set<KeyringEvent['kind']>([
  'retired',
  'revoked',
  'clockStarted',
  'rotated',
  'keyAdded',
]);

const logOf = (events: readonly KeyringEvent[]): string[] =>
  events
    .filter(({ kind }) => LOGGED.has(kind))
    .map((event) => {
      if ('generation' in event) return `${event.kind} ${event.generation}`;
      return event.kind === 'rotated' ? `rotated ${event.to}` : event.kind;
    })
    .sort();

/** Does a thing to both, and finds them in step. */
function both(model: Model, real: Real, op: NaiveOp): void {
  const now = Math.max(model.wall, model.seen);
  const next = structuredClone(model.state);
  const { fault, log } = naively(next, op, now);
  const text = JSON.stringify(next);
  const same = text === model.text;
  const before = real.keyring;
  const done = transition(before, commandOf(op), model.wall);
  if (!done.ok) {
    expect(done.fault.code).toBe(fault);
    return;
  }
  const broken = checkInvariants(done.keyring) ?? checkHistory(before, done.keyring);
  const outcome = [null, logOf(done.events), done.keyring === before, broken];
  expect(JSON.stringify(outcome)).toBe(JSON.stringify([fault, log, same, undefined]));
  real.keyring = done.keyring;
  if (!same) Object.assign(model, { state: next, text, seen: now });
}

/** Every key that there ever was, at this instant. */
function look(model: Model, real: Real, now: number): void {
  const snapshot = snapshotOf(real.keyring);
  // And one that nobody has, as a rule.
  const values = [...model.state.keys.map((key) => key.value), KEYS.length - 1];
  const answers = values.map((value) => {
    const { generation, fault } = findKey(snapshot, keyOf(value), () => now);
    const { startsClock: starts = false, limits } = generation ?? {};
    return `${value} ${fault ?? null} ${starts} ${limits?.rpm ?? null}`;
  });
  const { state } = model;
  const expected = values.map(
    (value) =>
      `${value} ${answerTo(state, value, now)} ${startsClock(state, value)} ${rpmOf(state, value)}`,
  );
  const { file = '', dotenv = '' } = real.keyring.declared;
  const remembered = ['file', 'dotenv'].map((source) => digestAt(state.declared[source] ?? -1));
  // One comparison rather than many: this runs a hundred thousand times.
  expect([...answers, file, dotenv].join('\n')).toBe([...expected, ...remembered].join('\n'));
}

type Act = fc.Command<Model, Real>;

const act = (shown: string, run: (model: Model, real: Real) => void): Act => ({
  check: () => true,
  run(model, real) {
    run(model, real);
    look(model, real, model.wall);
  },
  toString: () => shown,
});

const doing = (op: NaiveOp): Act => act(JSON.stringify(op), (model, real) => both(model, real, op));

const client = fc.constantFrom('master', 'master', 'master', 'ci', 'ci', 'ops-2');
const value = fc.nat({ max: KEYS.length - 1 });
const grace = fc.constantFrom(0, 1, 20, 60, 60, LONGEST_GRACE);
const staging = fc.record({
  kind: fc.constant('stage' as const),
  ...{ client, value, file: fc.boolean() },
  grace: fc.oneof({ weight: 9, arbitrary: grace }, fc.constantFrom(-1, LONGEST_GRACE + 1)),
  leaked: fc.integer({ max: 11, min: 0 }).map((roll) => roll === 0),
});
const published = fc.constantFrom(true, true, false);

/** Whole rotations, since most stagings do not meet their commit by chance; mostly of new keys. */
const rotating = fc
  .tuple(staging, published, fc.integer({ min: 0, max: 5 }), fc.constantFrom(1, 1, 2, 5))
  .map(([op, isPublished, roll, times]) =>
    act(`rotate ${times} times ${JSON.stringify({ ...op, isPublished, roll })}`, (model, real) => {
      for (let time = 0; time < times; time++) {
        const unused = KEYS.findIndex((_, at) => !model.state.keys.some((key) => key.value === at));
        both(model, real, { ...op, value: roll > 0 && unused >= 0 ? unused : op.value });
        both(model, real, { kind: 'commit', client: op.client, published: isPublished });
      }
    }),
  );

const numbered = fc
  .record({
    kind: fc.constantFrom('revoke', 'published', 'firstUse', 'firstUse', 'firstUse'),
    ...{ client, back: fc.constantFrom(-1, 0, 0, 0, 1, 1, 2, 3, 5) },
  })
  .map(({ kind, client: name, back }) =>
    act(`${kind} ${name}, ${back} before the newest`, (model, real) => {
      const number = Math.max(1, (model.state.clients[name]?.count ?? 0) - back);
      both(model, real, { kind, client: name, number } as NaiveOp);
    }),
  );

const plain = fc
  .record({
    kind: fc.constantFrom(
      ...(['unstage', 'rollback', 'rollback', 'disable', 'enable', 'enable', 'remove'] as const),
    ),
    client,
  })
  .map((op) => doing(op as NaiveOp));

const moving = fc.integer({ min: -12, max: 20 }).map((by) =>
  act(`the clock moves by ${by}`, (model) => {
    model.wall = Math.max(0, model.wall + by);
  }),
);

const stopping = fc.tuple(fc.nat(20), fc.integer({ min: -1, max: 1 })).map(([pick, off]) =>
  act(`the clock stops ${off} from end ${pick}`, (model, real) => {
    const all = ends(model.state);
    model.wall = Math.max(0, (all[pick % all.length] ?? model.wall) + off);
    look(model, real, model.wall);
  }),
);

const adding = fc
  .record({
    kind: fc.constant('addClient' as const),
    client,
    expiresAt: fc.oneof(fc.constant(null), fc.integer({ min: 90, max: 300 })),
  })
  .map(doing);

const setting = fc
  .record(
    {
      kind: fc.constant('setClient' as const),
      client,
      expiresAt: fc.oneof(fc.constant(null), fc.integer({ min: 90, max: 300 })),
      rpm: fc.constantFrom(null, 1, 60),
    },
    { requiredKeys: ['kind', 'client'] },
  )
  .map(doing);

const inFile = fc.record({
  client: fc.constantFrom('ci', 'ci', 'ops-2', 'dev', 'master'),
  picks: fc.uniqueArray(fc.nat({ max: 9 }), { minLength: 1, maxLength: 9 }),
  expiresAt: fc.oneof(fc.constant(null), fc.integer({ min: 90, max: 300 })),
  rpm: fc.constantFrom(null, 1, 60),
});

/** A file as people edit it: mostly the keys that a client has, some gone, and some of nobody. */
const filing = fc
  .tuple(
    fc.uniqueArray(inFile, { maxLength: 3, selector: ({ client: name }) => name }),
    fc.integer({ min: 0, max: 9 }),
    value,
  )
  .map(([wanted, roll, odd]) =>
    act(`the file ${JSON.stringify({ wanted, roll, odd })}`, (model, real) => {
      const { keys } = model.state;
      const free = KEYS.flatMap((_, at) => (keys.some((key) => key.value === at) ? [] : [at]));
      const clients = wanted.map(({ client: name, picks, ...rest }, place) => {
        const own = keys.filter((key) => key.client === name && key.fate === 'stacked');
        const unused = free.slice(place * 3);
        const some = [...own.map((key) => key.value), ...unused.slice(0, 3)];
        const values = picks.flatMap((pick) => some[pick] ?? []);
        const more = roll === 0 ? [odd] : values.length === 0 ? unused.slice(0, 1) : [];
        return { client: name, values: [...new Set([...values, ...more])], ...rest };
      });
      if (clients.some(({ values }) => values.length === 0)) return;
      both(model, real, { kind: 'fileClients', clients });
    }),
  );

const acts = [
  ...[filing, filing, filing],
  ...[rotating, rotating, rotating, rotating, rotating, numbered, numbered, numbered],
  ...[numbered, plain, plain, plain, adding, setting],
  ...[moving, stopping, staging.map(doing)],
  fc.record({ kind: fc.constant('commit' as const), client, published }).map(doing),
  fc.record({ kind: fc.constant('remember' as const), value }).map(doing),
  fc.constant(doing({ kind: 'pass' })),
];

it('does in any history what a naive telling of the rules does', { timeout: 120_000 }, () => {
  const histories = fc.commands(acts, { maxCommands: 60, size: 'max' });
  const setup = (): { model: Model; real: Real } => {
    const state = { clients: {}, keys: [], declared: {} };
    const model = { state, text: JSON.stringify(state), wall: 100, seen: 0 };
    const real = { keyring: EMPTY_KEYRING };
    for (const name of ['master', 'ci']) {
      both(model, real, { kind: 'addClient', client: name, expiresAt: null });
    }
    return { model, real };
  };
  fc.assert(
    fc.property(histories, (history) => fc.modelRun(setup, history)),
    { numRuns: Number(process.env['HISTORIES'] ?? 2000) },
  );
});
