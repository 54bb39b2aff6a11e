import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { useOf } from '../../src/cli/older-keys.ts';
import type { GenerationView, WhoView } from '../../src/rotation/admin.ts';
import {
  type Asked,
  ago,
  CURSOR_UP,
  cut,
  DAY,
  fakeTime,
  generation,
  HOUR,
  MINUTE,
  NOW,
  type Reply,
  type RunOptions,
  retiring,
  rotateView,
  runAgainst,
  SECOND,
  stopping,
  whoView,
} from './fake-admin.ts';

const OLD = { clockStarted: false, lastUsedAt: ago(2 * SECOND) } as const;
const CALLER = whoView().callers[0] as WhoView['callers'][number];
const seen = (at: number) => ({ ...CALLER, lastSeenAt: new Date(at).toISOString() });

/** Answers what is asked of the older key look by look; the last answer stays. */
const script = (
  looks: readonly (WhoView | Reply)[],
  previous: readonly GenerationView[] = [retiring(OLD)],
) => {
  let at = 0;
  return ({ what }: Asked): Reply => {
    if (what.startsWith('POST')) return [200, rotateView({ previous })];
    if (what.includes('master-3')) {
      return [200, whoView({ generation: generation(), callers: [seen(NOW)] })];
    }
    const look = looks[Math.min(at++, looks.length - 1)];
    return look !== undefined && 'generation' in look ? [200, look] : (look as Reply);
  };
};

const usedAt = (at: number, over: Partial<GenerationView> = {}): WhoView => ({
  generation: retiring({ clockStarted: true, lastUsedAt: new Date(at).toISOString(), ...over }),
  client: { state: 'enabled', expiresAt: null },
  callers: [seen(at)],
});

const wait = (answer: (asked: Asked) => Reply, options: RunOptions = {}) =>
  runAgainst((asked) => answer(asked), 'rotate --wait', options);

test('it stays until the last caller has moved, and says each change once', async () => {
  const { time, slept } = fakeTime();
  // The caller goes on for ten looks, then it has the new key.
  const looks = Array.from({ length: 10 }, (_, n) => usedAt(NOW + n * SECOND));
  const { code, stdout, stderr } = await wait(script(looks), { time });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^master-3 is the key of master now\n/);
  await expect(stderr).toMatchFileSnapshot('transcripts/rotate-wait.txt');
  // The last use is 9 s after the rotation, and a minute passes after it.
  expect(slept).toHaveLength(69);
  expect(new Set(slept)).toEqual(new Set([SECOND]));
});

test('a newer key that nobody uses is no reason to stop', async () => {
  const { time, slept } = fakeTime();
  const idle = usedAt(NOW - 2 * MINUTE, { clockStarted: false });
  const answers = [...Array.from({ length: 200 }, () => idle), usedAt(NOW - 2 * MINUTE)];
  const { code, stderr } = await wait(script(answers), { time });
  expect(code).toBe(0);
  expect(slept).toHaveLength(200);
  expect(stderr).toContain('master-2: nobody uses it now, but no newer key was used so far\n');
});

test('a stream that is still open is waited for', async () => {
  const { time, slept } = fakeTime();
  const open = usedAt(NOW - 30 * MINUTE, { inFlight: 1 });
  const answers = [...Array.from({ length: 90 }, () => open), usedAt(NOW - 30 * MINUTE)];
  const { code, stderr } = await wait(script(answers), { time });
  expect([code, slept.length]).toEqual([0, 90]);
  expect(stderr).toContain('master-2: requests are still under way with it\n');
});

test('what was used by nobody for an hour is not waited for', async () => {
  const { time, slept } = fakeTime();
  const answers = [usedAt(NOW - HOUR, { clockStarted: false })];
  const { code, stderr } = await wait(script(answers), { time });
  expect([code, slept.length]).toEqual([0, 0]);
  expect(stderr).toContain('nobody uses master-2 any more; master-2 is good until');
});

test('every older key is waited for', async () => {
  const { time } = fakeTime();
  const older = [retiring(OLD), retiring({ ...OLD, id: 'master-1' })];
  const asked: string[] = [];
  const { code, stderr } = await wait(
    ({ what }) => {
      asked.push(what);
      if (what.startsWith('POST')) return [200, rotateView({ previous: older })];
      const polls = asked.filter((each) => each.includes('master-1')).length;
      const ended = what.includes('master-2') || polls > 3;
      const over = ended ? { state: 'retired' as const } : {};
      return [200, usedAt(NOW, { id: what.split('/')[3] ?? '', ...over })];
    },
    { time },
  );
  expect(code).toBe(0);
  expect(stderr).toContain('waiting until nobody uses master-2, master-1 any more');
  expect(stderr).toMatch(/master-2: retired\n.*master-1: used.*master-1: retired\n/s);
  expect(stderr).toMatch(/nobody uses master-2, master-1 any more\n$/);
});

test('who had not moved when the key ended is named', async () => {
  const { time } = fakeTime();
  const moved = { ...seen(NOW), address: '10.0.0.1', userAgent: 'good/1' };
  const stays = { ...seen(NOW), address: '10.0.0.2', userAgent: 'stale/2' };
  const gone = { ...seen(NOW - DAY), address: '10.0.0.3', userAgent: 'old/3' };
  let looks = 0;
  const { code, stderr } = await wait(
    ({ what }) => {
      if (what.startsWith('POST')) return [200, rotateView({ previous: [retiring(OLD)] })];
      if (what.includes('master-3')) return [200, { ...whoView(), callers: [moved] }];
      looks += 1;
      const end = { state: 'retired', validUntil: new Date(NOW).toISOString() } as const;
      return [200, { ...usedAt(NOW, looks > 3 ? end : {}), callers: [moved, stays, gone] }];
    },
    { time },
  );
  expect(code).toBe(0);
  expect(stderr).toMatch(/master-2 ended, and these had not moved: 10\.0\.0\.2 {2}stale\/2\n/);
});

test.each([
  [{ state: 'disabled', expiresAt: null }, 'is disabled', 'until `sidecar clients enable master`'],
  [
    { state: 'expired', expiresAt: ago(HOUR) },
    'expired 2026-11-24 13:03 UTC (60 min ago)',
    '`sidecar clients remove master`, then add it again with a new end',
  ],
] as const)(
  'a client that is shut out meanwhile is not waited for: %j',
  async (client, why, hint) => {
    const stays = { ...seen(NOW), address: '10.0.0.2', userAgent: 'stale/2' };
    const shut = { ...usedAt(NOW, { inFlight: 1 }), client };
    const moved = await wait(script([usedAt(NOW), shut]));
    expect(moved.code).toBe(0);
    expect(moved.stderr).toContain(`\nsidecar: master-2 is refused: its client ${why}\n`);
    expect(moved.stderr).toContain(hint);
    const { code, stderr } = await wait(script([{ ...shut, callers: [seen(NOW), stays] }]));
    expect(code).toBe(0);
    expect(stderr).toContain(`its client ${why}, and these had not moved: 10.0.0.2  stale/2\n`);
    expect(stderr).toContain(hint);
  },
);

test('where every older key has ended, there is nobody to wait for', async () => {
  const previous = [retiring({ state: 'revoked', validUntil: ago(0) })];
  const { code, stderr, asked } = await wait(script([], previous));
  expect([code, asked.length]).toEqual([0, 1]);
  expect(stderr).toContain('no older key is good any more');
});

test('a rollback meanwhile ends it with 1', async () => {
  const back = usedAt(NOW, { state: 'active' });
  const { code, stderr } = await wait(script([usedAt(NOW), back]));
  expect(code).toBe(1);
  expect(stderr).toMatch(/master-2 is active again: somebody rolled this rotation back\n$/);
});

test('a sidecar that restarts meanwhile is waited for', async () => {
  const { time } = fakeTime();
  const looks = [usedAt(NOW), stopping, stopping, usedAt(NOW, { state: 'retired' })];
  const { code, stderr } = await wait(script(looks), { time });
  expect(code).toBe(0);
  expect(stderr.match(/the sidecar is stopping; still waiting/g)).toHaveLength(1);
});

test('each time it is away has a minute of its own', async () => {
  const away = Array.from({ length: 40 }, () => stopping);
  const looks = [...away, usedAt(NOW), ...away, usedAt(NOW, { state: 'retired' })];
  const { code, stderr } = await wait(script(looks));
  expect(code).toBe(0);
  expect(stderr.match(/still waiting/g)).toHaveLength(2);
});

test('a sidecar that stays away ends it with 69 after a minute; the rotation is done', async () => {
  const { time, slept } = fakeTime();
  const { code, stdout, stderr } = await wait(script([usedAt(NOW), cut]), { time });
  expect(code).toBe(69);
  expect(stdout).toMatch(/^master-3 is the key/);
  expect(stderr).toContain('the rotation itself is done; sidecar status shows the rest');
  expect(slept.filter((ms) => ms === SECOND).length).toBe(61);
});

test.each(['between two looks', 'while the sidecar is silent'])('Ctrl-C %s', async (when) => {
  const ctrlC = new AbortController();
  const time = {
    now: () => NOW,
    sleep: () => Promise.resolve(ctrlC.abort()),
  };
  const silent: Reply = () => void setImmediate(() => ctrlC.abort());
  const looks = when === 'between two looks' ? [usedAt(NOW)] : [silent];
  const { code, stdout, stderr } = await wait(script(looks), {
    time,
    interrupts: () => ctrlC.signal,
  });
  expect(code).toBe(130);
  expect(stderr).not.toContain('still waiting');
  expect(stdout).toMatch(/^master-3 is the key/);
  expect(stderr).toMatch(
    /sidecar: stopped waiting; the rotation itself is done\n {2}hint: sidecar who master-2 .*\n$/,
  );
});

test('without --wait nobody asks for Ctrl-C', async () => {
  const interrupts = (): AbortSignal => {
    throw new Error('asked');
  };
  const { code } = await runAgainst([200, rotateView()], 'rotate', { interrupts });
  expect(code).toBe(0);
});

test('--json prints one document, and waits then', async () => {
  const answer = script([usedAt(NOW, { state: 'retired' })]);
  const { code, stdout } = await runAgainst((asked) => answer(asked), 'rotate --wait --json');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ client: 'master' });
});

test('on a terminal the lines change in place, and go at the end', async () => {
  const { time } = fakeTime();
  const others = Array.from({ length: 12 }, (_, n) => ({ ...CALLER, address: `10.0.1.${n}` }));
  const first = { ...usedAt(NOW), callers: [seen(NOW), ...others] };
  const looks = [first, usedAt(NOW, { state: 'retired', validUntil: ago(0) })];
  const looked = { isTTY: true, columns: 60 } as const;
  const { code, stderr } = await wait(script(looks), { time, looked });
  expect(code).toBe(0);
  const [before = '', ...frames] = stderr.split(CURSOR_UP);
  const drawn = before.split('\n').slice(2, -1);
  // Title, deadline, eight callers, how many more.
  expect(drawn).toHaveLength(11);
  for (const line of drawn) {
    expect(stripVTControlCharacters(line).length).toBeLessThan(60);
  }
  expect(before).toContain('10.0.0.7  OpenAI/Python 1.99.1  0 s ago, has the new key\n');
  expect(before).toContain('10.0.1.0  OpenAI/Python 1.99.1  12 s ago\n');
  expect(before).toContain('  and 5 more: sidecar who master-2\n');
  // The second look goes back over the eleven lines; the end over the three of the second.
  expect(frames.map((frame) => frame.split('A', 1)[0])).toEqual(['11', '3']);
  expect(frames[1]?.startsWith('3A\r\u001b[J')).toBe(true);
  expect(frames[1]).toContain('nobody uses master-2 any more');
});

test('a dumb terminal has plain lines', async () => {
  const looked = { isTTY: true, columns: 60 } as const;
  const answer = script([usedAt(NOW, { state: 'retired' })]);
  const { stderr } = await wait(answer, { looked, env: { TERM: 'dumb' } });
  expect(stderr).not.toContain('\u001b');
  expect(stderr).toContain('master-2: retired');
});

test('the deadline that is printed is the one of the last look', async () => {
  const free = usedAt(NOW - 2 * MINUTE, { validUntil: ago(-3 * DAY), lastUsedAt: ago(HOUR) });
  const { stderr } = await wait(script([free]));
  expect(stderr).toContain('master-2 is good until 2026-11-27 14:03 UTC (in 3 d)');
  expect(stderr).toContain('hint: sidecar revoke master-2 ends it now');
});

const NOT_YET = { clockStarted: false } as const;

test.each([
  ['a retired key', { state: 'retired' }, DAY, 'ended'],
  ['a revoked key with a stream', { state: 'revoked', inFlight: 1 }, DAY, 'ended'],
  ['an active key', { state: 'active' }, DAY, 'returned'],
  ['a request under way, hours after its head', { inFlight: 1, lastUsedAt: ago(DAY) }, DAY, 'used'],
  ['a use just now', { lastUsedAt: ago(0) }, DAY, 'used'],
  ['a use less than a minute ago', { lastUsedAt: ago(59 * SECOND) }, DAY, 'used'],
  ['a minute without use, a newer key in use', { lastUsedAt: ago(MINUTE) }, MINUTE, 'free'],
  ['a minute without use, rotated just now', { lastUsedAt: ago(MINUTE) }, 59 * SECOND, 'idle'],
  ['nobody moved', { lastUsedAt: ago(HOUR - 1), ...NOT_YET }, DAY, 'idle'],
  ['an hour without use, nobody moved', { lastUsedAt: ago(HOUR), ...NOT_YET }, 0, 'free'],
  ['never used', { lastUsedAt: null, ...NOT_YET }, 0, 'free'],
  ['a use ahead of the clock', { lastUsedAt: ago(-MINUTE) }, DAY, 'used'],
] as const)('%s', (_name, over, rotatedMs, expected) => {
  expect(useOf({ ...whoView(), generation: retiring(over) }, NOW - rotatedMs, NOW)).toBe(expected);
});
