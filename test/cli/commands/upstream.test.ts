import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { UpstreamView } from '../../../src/handover/views.ts';
import { ago, ahead, DAY, HOUR, MINUTE, problem, runAgainst, SECOND } from '../fake-admin.ts';
import {
  EMPTY,
  EVIL,
  fault,
  handoverView,
  MODELS,
  rolledBack,
  slot,
  upstreamView,
} from '../upstream-views.ts';

const LOOKED = { isTTY: true, columns: 90 } as const;
const CONTROLS = ['\u001b]', '\u0007', '\u009b'] as const;

/** Whatever an operator may have to see. */
const FULL = upstreamView({
  slots: [
    slot({ state: 'draining', requests: 1204 }),
    slot({ ...EMPTY, state: 'active', up: true, requests: 1 }),
  ],
  handover: handoverView({
    state: 'draining',
    stateSince: ago(40 * SECOND),
    switchedAt: ago(41 * SECOND),
    waitsFor: '1,204 requests and 1 websocket in slot a',
    models: MODELS,
  }),
  waiting: handoverView({
    id: 'handover-13',
    kind: 'reload',
    by: 'config',
    state: 'waiting',
    stateSince: ago(5 * SECOND),
    waitsFor: 'handover-12 to end',
  }),
  last: rolledBack(),
  verified: false,
  rotateEveryMs: 30 * DAY,
  nextRotationAt: ahead(3 * DAY),
  config: 'refused',
  autoReload: true,
  database: true,
  warnings: [{ code: 'x', message: 'slot b is slow', hint: 'give it more memory' }],
  next: ['edit config.yaml: it was refused'],
});

const textOf = async (over: Partial<UpstreamView>): Promise<string> => {
  const { code, stdout } = await runAgainst([200, upstreamView(over)], 'upstream status');
  expect(code).toBe(0);
  return stdout;
};

test('status is one screen, with whatever an operator should know', async () => {
  const { code, stdout, stderr, asked } = await runAgainst([200, FULL], 'upstream status');
  expect([code, stderr]).toEqual([0, '']);
  expect(asked.map(({ what }) => what)).toEqual(['GET /api/upstream']);
  await expect(stdout).toMatchFileSnapshot('../transcripts/upstream-status.txt');
});

test('on a terminal it has colours, and the same words', async () => {
  const { stdout } = await runAgainst([200, FULL], 'upstream status', { looked: LOOKED });
  expect(stdout).toContain('\u001b[33mdraining\u001b[39m');
  expect(stdout).toContain('\u001b[32mactive\u001b[39m');
  expect(stdout).toContain('\u001b[31mconfig\u001b[39m: refused');
  const plain = (await runAgainst([200, FULL], 'upstream status')).stdout;
  expect(stripVTControlCharacters(stdout)).toBe(plain);
});

test('where nothing is wrong it says little', async () => {
  const stdout = await textOf({ last: handoverView({ state: 'done', endedAt: ago(2 * HOUR) }) });
  await expect(stdout).toMatchFileSnapshot('../transcripts/upstream-status-calm.txt');
});

test('a LiteLLM of somebody else: both keys are live while its key changes', async () => {
  const stdout = await textOf({
    mode: 'unmanaged',
    slots: [slot({ mcpSessions: 0 })],
    keyMadeAt: null,
    config: 'none',
    keyChange: {
      since: ago(5 * MINUTE),
      newAcceptedAt: null,
      oldAcceptedAt: ago(3 * SECOND),
    },
  });
  await expect(stdout).toMatchFileSnapshot('../transcripts/upstream-status-unmanaged.txt');
});

test('one slot cannot hand over, and no rotation is proposed', async () => {
  const stdout = await textOf({ mode: 'one-slot', slots: [slot()] });
  expect(stdout).toMatch(/^LiteLLM has one slot, so that nothing can be handed over; 2026-/);
  expect(stdout).toContain('\nkey: made 32 d ago\n');
  expect(stdout).not.toContain('handover: ');
});

test.each([
  [{ config: 'current' }, 'config: current'],
  [{ config: 'current', autoReload: true }, 'config: current; an edit is tried by itself'],
  [
    { config: 'changed' },
    'config: changed since LiteLLM started; `sidecar upstream reload` takes it',
  ],
  [
    { config: 'changed', autoReload: true },
    'config: changed since LiteLLM started; it is tried by itself',
  ],
  [{ config: 'none' }, 'config: none: SIDECAR_LITELLM_CONFIG is not set'],
  [{ database: null }, 'database: not asked yet'],
  [{ database: false }, 'database: none'],
  [{ database: false, saltKeySet: true }, 'database: none; there is a salt key'],
  [{ database: true, saltKeySet: true }, 'database: yes; there is a salt key'],
  [
    { database: true },
    'database: yes, and no word about a salt key: set SIDECAR_LITELLM_SALT_KEY before a rotation',
  ],
  [{ rotateEveryMs: DAY }, 'key: made 32 d ago; rotated every 24h'],
] as const)('%j is said', async (over, line) => {
  expect(`\n${await textOf(over)}`).toContain(`\n${line}\n`);
});

test('a fault is told once: below the configuration that it refused, else below the last', async () => {
  for (const config of ['refused', 'current'] as const) {
    const stdout = await textOf({ config, last: rolledBack() });
    expect(stdout.match(/ {2}why: /g)).toHaveLength(1);
    const above = config === 'refused' ? 'config: refused' : 'last: handover-11';
    const [before = ''] = stdout.split('\n  why: ');
    expect(before.split('\n').at(-1)).toContain(above);
  }
});

test('what LiteLLM says reaches no terminal as a control sequence', async () => {
  const last = rolledBack({ fault: fault({ message: EVIL, hint: EVIL, lastWords: [EVIL, EVIL] }) });
  const evil = handoverView({ by: EVIL, waitsFor: EVIL, id: EVIL });
  const view = upstreamView({
    slots: [slot({ url: EVIL })],
    ...{ handover: evil, waiting: evil, last, next: [EVIL] },
    warnings: [{ code: EVIL, message: EVIL, hint: EVIL }],
  });
  const text = await runAgainst([200, view], 'upstream status');
  const history = { handovers: [evil, last] };
  const listed = await runAgainst([200, history], 'upstream history');
  for (const { stdout } of [text, listed]) {
    for (const control of [...CONTROLS, '\u001b']) expect(stdout).not.toContain(control);
    expect(stdout).not.toMatch(/^\s*next: do what/m);
  }
  const json = await runAgainst([200, view], 'upstream status --json');
  for (const control of [...CONTROLS, '\u001b']) expect(json.stdout).not.toContain(control);
  expect(JSON.parse(json.stdout)).toEqual(view);
});

test('--json is the document of the API', async () => {
  const { code, stdout, stderr } = await runAgainst([200, FULL], 'upstream status --json');
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout)).toEqual(FULL);
});

const HISTORY = {
  handovers: [
    handoverView({
      id: 'handover-13',
      kind: 'dry-run',
      state: 'starting',
      startedAt: ago(6 * SECOND),
      waitsFor: 'LiteLLM in slot b to answer',
    }),
    handoverView({ state: 'done', startedAt: ago(2 * HOUR), endedAt: ago(HOUR) }),
    rolledBack(),
  ],
};

test('history lists the last ones', async () => {
  const { code, stdout, asked } = await runAgainst([200, HISTORY], 'upstream history');
  expect([code, asked[0]?.what]).toEqual([0, 'GET /api/upstream/handovers']);
  await expect(stdout).toMatchFileSnapshot('../transcripts/upstream-history.txt');
  const json = await runAgainst([200, HISTORY], 'upstream history --json');
  expect(JSON.parse(json.stdout)).toEqual(HISTORY);
});

test('history: none so far', async () => {
  const { code, stdout, stderr } = await runAgainst([200, { handovers: [] }], 'upstream history');
  expect([code, stdout, stderr]).toEqual([0, '', 'sidecar: there was no handover so far\n']);
});

test('salt-key prints two lines for .env, and says elsewhere what they are', async () => {
  const view = { saltKey: 'sk-salt-0123456789' };
  const { code, stdout, stderr, asked } = await runAgainst([200, view], 'upstream salt-key');
  expect([code, asked.map(({ what }) => what)]).toEqual([0, ['POST /api/upstream/salt-key']]);
  expect(stdout).toBe('LITELLM_SALT_KEY=sk-salt-0123456789\nSIDECAR_LITELLM_SALT_KEY=set\n');
  expect(stderr).not.toContain(view.saltKey);
  await expect(stderr).toMatchFileSnapshot('../transcripts/salt-key.txt');
  const json = await runAgainst([200, view], 'upstream salt-key --json');
  expect(JSON.parse(json.stdout)).toEqual(view);
  expect(json.stderr).toBe(stderr);
});

test('salt-key: where one is there already, stdout stays empty', async () => {
  const hints = ['keep the one that LiteLLM has'];
  const refusal = problem(409, 'salt_key_not_new', 'a salt key is set', { hints });
  const { code, stdout, stderr } = await runAgainst(refusal, 'upstream salt-key');
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toBe('sidecar: a salt key is set\n  hint: keep the one that LiteLLM has\n');
});
