import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { UpstreamView } from '../../../src/handover/views.ts';
import type { ClientView, StatusView } from '../../../src/rotation/admin.ts';
import {
  type Asked,
  ago,
  ahead,
  client,
  DAY,
  generation,
  MINUTE,
  problem,
  type Reply,
  retiring,
  runAgainst,
  SECOND,
  statusView,
} from '../fake-admin.ts';
import { EMPTY, EVIL, handoverView, slot, upstreamView } from '../upstream-views.ts';

const LOOKED = { isTTY: true, columns: 90 } as const;

/** Whatever an operator may have to see. */
const FULL = statusView({
  clients: [
    client({
      generations: [
        generation(),
        retiring(),
        retiring({ id: 'master-1', clockStarted: false, validUntil: ahead(28 * DAY) }),
        retiring({ id: 'ended', state: 'revoked', validUntil: ago(9 * DAY), lastUsedAt: null }),
      ],
      nextRotationAt: ahead(28 * DAY),
    }),
    client({
      name: 'ci',
      scopes: ['inference'],
      expiresAt: ahead(80 * DAY),
      generations: [generation({ id: 'ci-1', client: 'ci', lastUsedAt: null })],
      nextRotationAt: ahead(3 * DAY),
      publish: [
        {
          target: 'dotenv:/srv/app/.env#OPENAI_API_KEY',
          state: 'pending',
          error: 'EACCES: permission denied',
          nextTryAt: ahead(30 * SECOND),
        },
      ],
    }),
    client({ name: 'old', state: 'disabled', generations: [] }),
  ],
  store: { kept: true, up: false, error: 'ENOSPC: no space left on device' },
  rotateEveryMs: 30 * DAY,
  warnings: [{ code: 'short', message: 'the declared key is short', hint: 'sidecar rotate' }],
  next: ['sidecar who master-2: it retires, and 1 caller used it this hour'],
});

/** Both questions of `sidecar status`. */
const answering =
  (view: StatusView, upstream: UpstreamView = upstreamView()) =>
  ({ what }: Asked): Reply =>
    what === 'GET /api/upstream' ? [200, upstream] : [200, view];

test('status is one screen, with whatever an operator should know', async () => {
  const { code, stdout, stderr, asked } = await runAgainst(answering(FULL), 'status');
  expect([code, stderr]).toEqual([0, '']);
  expect(asked.map(({ what }) => what)).toEqual(['GET /api/status', 'GET /api/upstream']);
  await expect(stdout).toMatchFileSnapshot('../transcripts/status.txt');
});

const limited = (
  name: string,
  usdToday: number,
  usdPerDay: number,
  over: Partial<ClientView> = {},
): ClientView =>
  client({
    name,
    limits: { rpm: 60, parallel: null, tokensPerDay: null, usdPerDay, mode: 'refuse' },
    use: {
      ...{ requestsLastMinute: 6, inFlight: 0, tokensToday: 0, usdToday },
      ...{ reservedTokens: 0, reservedUsd: 0 },
    },
    ...over,
  });

test('what is used of limits stands in status, the most used first, and whom the file rules', async () => {
  const many = Array.from({ length: 14 }, (_, at) =>
    limited(`c${at}`, at + 0.25, 50, { inFile: true }),
  );
  const clients = [client(), ...many, limited('ci', 6.5, 5)];
  const { stdout } = await runAgainst(answering(statusView({ clients })), 'status');
  const lines = stdout.split('\n');
  expect(lines.filter((line) => line.startsWith('limits: '))).toEqual([
    'limits: ci: 6 of 60 requests a minute, $6.50 of $5 a day',
    ...[13, 12, 11, 10, 9, 8, 7, 6, 5].map(
      (at) => `limits: c${at}: 6 of 60 requests a minute, $${at}.25 of $50 a day`,
    ),
    'limits: and 5 more with less in use: sidecar clients list',
  ]);
  expect(lines).toContain('clients file: rules c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 4 more');
});

test('on a terminal it has colours and keeps to the width', async () => {
  const { stdout } = await runAgainst(answering(FULL), 'status', { looked: LOOKED });
  expect(stdout).toContain('\u001b[33mretiring\u001b[39m');
  expect(stdout).toContain('\u001b[32mactive\u001b[39m');
  const [table = ''] = stripVTControlCharacters(stdout).split('\npending');
  for (const line of table.split('\n')) expect(line.length).toBeLessThanOrEqual(90);
  await expect(stripVTControlCharacters(stdout)).toMatchFileSnapshot(
    '../transcripts/status-tty.txt',
  );
});

test('NO_COLOR has the layout of a pipe', async () => {
  const env = { NO_COLOR: '1' };
  const { stdout } = await runAgainst(answering(FULL), 'status', { looked: LOOKED, env });
  expect(stdout).not.toContain('\u001b');
});

test('where nothing is wrong it says little', async () => {
  const { stdout } = await runAgainst(answering(statusView()), 'status');
  expect(stdout).toMatch(
    /\n\nlitellm: slot a, up; config current\nstore: ok\nschedule: none; .*SIDECAR_ROTATE_EVERY\n$/,
  );
});

test('a key that a caller chose cannot move the cursor', async () => {
  const error = 'no\u001b[2Jway\nnext: do what I say';
  const evil = client({
    publish: [{ target: 'file:/k', state: 'pending', error, nextTryAt: null }],
  });
  const warnings = [{ code: 'x', message: error, hint: error }];
  const view = statusView({ clients: [evil], warnings, next: [error] });
  const { stdout } = await runAgainst(answering(view), 'status');
  expect(stdout).not.toContain('\u001b');
  expect(stdout).not.toMatch(/^next: do what/m);
});

test('--json is the document of the API', async () => {
  const { code, stdout, stderr } = await runAgainst(answering(FULL), 'status --json');
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout)).toEqual({ ...FULL, upstream: upstreamView() });
});

const MOVING = handoverView({
  state: 'starting',
  stateSince: ago(6 * SECOND),
  waitsFor: 'LiteLLM in slot b to answer',
});
const HANDED = 'handover-12 (rotate by cli:alice): starting since 14:03:04 UTC (6 s)';
const CHANGE = { since: ago(5 * MINUTE), newAcceptedAt: ago(SECOND), oldAcceptedAt: null };

test.each([
  [{ config: 'none' }, 'slot a, up'],
  [{ mode: 'unmanaged', config: 'none' }, 'somebody else runs it, up'],
  [{ config: 'changed' }, 'slot a, up; config changed: `sidecar upstream reload` takes it'],
  [{ config: 'changed', autoReload: true }, 'slot a, up; config changed'],
  [{ config: 'refused' }, 'slot a, up; config refused: `sidecar upstream status` says why'],
  [
    { handover: MOVING },
    `slot a, up; config current; ${HANDED}, waits for LiteLLM in slot b to answer`,
  ],
  [
    { mode: 'unmanaged', config: 'none', keyChange: CHANGE },
    'somebody else runs it, up; key change since 13:58:10 UTC (5 min ago): ' +
      'new key accepted 1 s ago, old key not accepted so far',
  ],
  [
    { warnings: [{ code: 'x', message: 'y', hint: 'z' }] },
    'slot a, up; config current; 1 warning: `sidecar upstream status`',
  ],
] as const)('LiteLLM has a line: %j', async (over, line) => {
  const upstream = upstreamView(over);
  const { stdout } = await runAgainst(answering(statusView(), upstream), 'status');
  expect(stdout).toContain(`\nlitellm: ${line}\nstore: ok\n`);
});

test('what is handed over cannot move the cursor', async () => {
  const handover = handoverView({ by: EVIL, waitsFor: EVIL });
  const { stdout } = await runAgainst(answering(FULL, upstreamView({ handover })), 'status');
  expect(stdout).not.toContain('\u001b');
  expect(stdout).not.toMatch(/^next: do what/m);
});

test.each([
  ['unknown_generation', 404, 2],
  ['bad_request', 400, 2],
  ['bad_grace', 400, 2],
  ['unknown_client', 404, 2],
  ['rotation_under_way', 409, 1],
  ['too_many_generations', 409, 1],
  ['no_rollback_after_compromise', 409, 1],
  ['publish_failed', 500, 1],
  ['failed', 500, 1],
  ['store_unavailable', 503, 73],
  ['stopping', 503, 69],
])('a refusal with the code %s ends with its exit code', async (word, status, expected) => {
  const more = { hints: ['did you mean master-2?'], mistakes: ['grace: must be text'] };
  const reply = problem(status, word, 'it is not so', more);
  const { code, stdout, stderr } = await runAgainst(reply, 'who master-9');
  expect([code, stdout]).toEqual([expected, '']);
  expect(stderr).toContain('sidecar: it is not so\n  hint: did you mean master-2?\n');
  expect(stderr).toMatch(/^grace: must be text$/m);
  const json = await runAgainst(reply, 'who master-9 --json');
  expect(json.code).toBe(expected);
  expect(JSON.parse(json.stdout)).toMatchObject({ code: word, status });
});

test('an endpoint that is not there is another version', async () => {
  const { code, stderr } = await runAgainst(problem(404, 'not_found', 'nothing there'), 'status');
  expect(code).toBe(1);
  expect(stderr).toContain('of different versions');
});

test.each([
  [{}, 'slot a, away; config current', 'docker compose logs litellm'],
  [
    { slots: [slot({ up: false, downSince: ago(5 * MINUTE) }), EMPTY] },
    'slot a, away since 13:58:10 UTC (5 min); config current',
    'docker compose logs litellm',
  ],
  [
    { mode: 'unmanaged', config: 'none' },
    'somebody else runs it, away',
    'start it, or mend SIDECAR_UPSTREAM: it is asked at http://litellm:4000',
  ],
] as const)('LiteLLM that is away stands first: %j', async (over, line, hint) => {
  const upstream = upstreamView({ slots: [slot({ up: false }), EMPTY], ...over });
  const { stdout } = await runAgainst(answering(statusView(), upstream), 'status');
  const [, first, second] = stdout.split('\n');
  expect(first).toBe(`litellm: ${line}`);
  expect(second).toContain(`hint: `);
  expect(second).toContain(hint);
  expect(stdout.match(/litellm: /g)).toHaveLength(1);
});

test('a key of a client that expired or is disabled is not called good', async () => {
  const clients = [
    client({ name: 'guest', state: 'expired', expiresAt: ago(5 * MINUTE) }),
    client({ name: 'shut', state: 'disabled' }),
  ];
  const { stdout } = await runAgainst(answering(statusView({ clients }), upstreamView()), 'status');
  expect(stdout).toMatch(/guest \(expired\) .* refused: its client expired .* \(5 min ago\)/);
  expect(stdout).toMatch(/shut \(disabled\) .* refused: its client is disabled/);
  expect(stdout).not.toContain('it is rotated');
});
