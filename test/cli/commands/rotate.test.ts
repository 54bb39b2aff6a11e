import { expect, test } from 'vitest';
import {
  type Asked,
  ago,
  ahead,
  changeView,
  client,
  DAY,
  HOUR,
  MINUTE,
  problem,
  type Reply,
  retiring,
  rotateView,
  runAgainst,
  SECOND,
  whoView,
} from '../fake-admin.ts';

test('rotate says what happened, and never the key', async () => {
  const { code, stdout, stderr, asked } = await runAgainst([200, rotateView()], 'rotate');
  expect([code, stderr]).toEqual([0, '']);
  expect(asked).toHaveLength(1);
  expect(asked[0]).toMatchObject({
    what: 'POST /api/clients/master/rotate',
    body: { compromised: false, force: false },
  });
  expect(asked[0]?.body).not.toHaveProperty('grace');
  expect(stdout).not.toContain(rotateView().key);
  await expect(stdout).toMatchFileSnapshot('../transcripts/rotate.txt');
});

test('each rotation says who asks, and has an Idempotency-Key of its own', async () => {
  const one = await runAgainst([200, rotateView()], 'rotate');
  const two = await runAgainst([200, rotateView()], 'rotate');
  const [first, second] = [one, two].map(({ asked }) => asked[0]?.headers ?? {});
  expect(first?.['x-sidecar-actor']).toMatch(/^[\x21-\x7e]+$/);
  expect(first?.['idempotency-key']).toMatch(/^[\x21-\x7e]{20,255}$/);
  expect(second?.['idempotency-key']).not.toBe(first?.['idempotency-key']);
});

test('the flags and the client are sent as they were given', async () => {
  const line = 'rotate staging --grace 7d --compromised --force';
  const { asked } = await runAgainst([200, rotateView({ client: 'staging' })], line);
  expect(asked[0]).toMatchObject({
    what: 'POST /api/clients/staging/rotate',
    body: { grace: '7d', compromised: true, force: true },
  });
});

test('--json holds the key, and is the document of the API', async () => {
  const { code, stdout, stderr } = await runAgainst([200, rotateView()], 'rotate --json');
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout)).toEqual(rotateView());
});

test('a target that lacks the new key is shown with its error', async () => {
  const target = 'dotenv:/srv/app/.env#OPENAI_API_KEY';
  const view = rotateView({
    client: 'staging',
    publish: [
      { target, state: 'pending', error: 'EROFS: read-only', nextTryAt: ahead(5 * SECOND) },
    ],
  });
  const { stdout } = await runAgainst([200, view], 'rotate staging');
  expect(stdout).toContain(`  pending: ${target}: EROFS: read-only; tried again in 5 s\n`);
  expect(stdout).toContain("  no old key's clock starts before every target has the new one\n");
  expect(stdout).toContain('  read it: sidecar key show staging\n');
});

test.each([
  [0, 'nothing was in flight that had to be cut'],
  [1, '1 request in flight was cut'],
  [12, '12 requests in flight were cut'],
])('--compromised says what was cut: %d', async (cut, words) => {
  const previous = [retiring({ state: 'revoked', validUntil: ago(0) })];
  const view = rotateView({ previous, cut });
  const { stdout } = await runAgainst([200, view], 'rotate --compromised');
  expect(stdout).toContain(`  ${words}\n`);
  expect(stdout).toContain('  master-2: revoked 2026-11-24 14:03 UTC (0 s ago)\n');
  expect(stdout).not.toContain('next:');
  const changed = await runAgainst([200, changeView({ cut })], 'revoke master-2 --compromised');
  expect(changed.stdout).toContain(`  ${words}\n`);
});

test('without --compromised nothing is said of cuts', async () => {
  for (const line of ['rotate', 'revoke master-2']) {
    const view = line === 'rotate' ? rotateView() : changeView();
    expect((await runAgainst([200, view], line)).stdout).not.toMatch(/\bcut\b/);
  }
});

const IN_USE = problem(409, 'in_use', 'master-2 was used in the last hour', {
  hints: ['wait until nobody uses it (sidecar who), or go on with --force'],
  who: whoView(),
});

test.each([
  ['rotate --grace 0', 'POST /api/clients/master/rotate'],
  ['revoke master-2', 'POST /api/generations/master-2/revoke'],
  ['clients remove staging', 'DELETE /api/clients/staging'],
])('%s of a key in use shows who would break', async (line, what) => {
  const { code, stdout, stderr, asked } = await runAgainst(IN_USE, line);
  expect([code, stdout]).toEqual([1, '']);
  expect(asked.map((one) => one.what)).toEqual([what]);
  await expect(stderr).toMatchFileSnapshot('../transcripts/in-use.txt');
  const json = await runAgainst(IN_USE, `${line} --json`);
  expect(JSON.parse(json.stdout)).toMatchObject({ code: 'in_use', who: whoView() });
});

test('revoke', async () => {
  const { code, stdout, asked } = await runAgainst([200, changeView()], 'revoke master-2 --force');
  expect(code).toBe(0);
  expect(asked[0]?.body).toEqual({ force: true, compromised: false });
  await expect(stdout).toMatchFileSnapshot('../transcripts/revoke.txt');
  const json = await runAgainst([200, changeView()], 'revoke master-2 --json');
  expect(JSON.parse(json.stdout)).toEqual(changeView());
});

test('rollback names the key that is active again', async () => {
  const back = changeView({
    client: client({ generations: [retiring({ state: 'active', validUntil: null })] }),
    notes: ['file:/k could not be written'],
  });
  const answer = ({ what }: Asked): Reply => [200, what.startsWith('GET ') ? client() : back];
  const { code, stdout, asked } = await runAgainst(answer, 'rollback');
  expect(code).toBe(0);
  expect(asked.map(({ what }) => what)).toEqual([
    'GET /api/clients/master',
    'POST /api/clients/master/rollback',
  ]);
  // It goes back from the key that was active, and from no other.
  expect(asked[1]?.body).toEqual({ from: 'master-3' });
  expect(stdout).toMatch(/^master-2 is the key of master again\n/);
  expect(stdout).toContain('  file:/k could not be written\n');
  const json = await runAgainst(answer, 'rollback staging --json');
  expect(json.asked[1]?.what).toBe('POST /api/clients/staging/rollback');
  expect(JSON.parse(json.stdout)).toEqual(back);
});

test('on a terminal what was done is green', async () => {
  const looked = { isTTY: true, columns: 80 } as const;
  const { stdout } = await runAgainst([200, rotateView()], 'rotate', { looked });
  expect(stdout).toContain('\u001b[32mmaster-3\u001b[39m is the key of master now\n');
});

test('a grace in days and one in hours are told as one writes them', async () => {
  const graces = [
    [DAY, '24h after'],
    [7 * DAY, '7d after'],
    [90 * SECOND, '90s after'],
  ] as const;
  for (const [graceMs, words] of graces) {
    const previous = [retiring({ clockStarted: false, validUntil: ahead(30 * DAY), graceMs })];
    const { stdout } = await runAgainst([200, rotateView({ previous })], 'rotate');
    expect(stdout).toContain(`good until ${words} the new key's first use, at the latest 2026-12-`);
  }
});

test.each([
  [30 * DAY - SECOND, 'in 30 d'],
  [2 * DAY, 'in 2 d'],
  [DAY - 20 * MINUTE, 'in 24 h'],
  [DAY - 40 * MINUTE, 'in 23 h'],
  [MINUTE + 1, 'in 60 s'],
  [1, 'in 0 s'],
  [0, '0 s ago'],
  [-3 * HOUR, '3 h ago'],
])('a deadline %d ms ahead is %s', async (ms, words) => {
  const previous = [retiring({ validUntil: ahead(ms) })];
  const { stdout } = await runAgainst([200, rotateView({ previous })], 'rotate');
  expect(stdout).toMatch(/master-2: (?:good until|refused since) [\d: -]+ UTC \(/);
  expect(stdout).toContain(` UTC (${words})\n`);
});

test('rotate says that a client stays disabled', async () => {
  const { stdout } = await runAgainst([200, rotateView({ clientState: 'disabled' })], 'rotate');
  expect(stdout).toContain('master-2: refused: its client is disabled\n');
  expect(stdout).toContain('master stays disabled: sidecar clients enable master lets it in');
});
