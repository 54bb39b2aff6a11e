import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { HandoverView } from '../../../src/handover/views.ts';
import {
  type Asked,
  ago,
  CURSOR_UP,
  cut,
  fakeTime,
  NOW,
  problem,
  type Reply,
  type RunOptions,
  runAgainst,
  SECOND,
  stopping,
} from '../fake-admin.ts';
import { EVIL, fault, handoverView, MODELS, rolledBack, STEPS } from '../upstream-views.ts';

type Look = HandoverView | Reply;

/** The POST has the first answer; each look has the next one, and the last one stays. */
function script(...answers: readonly Look[]) {
  let at = 0;
  return ({ what }: Asked): Reply => {
    const answer = answers[Math.min(at++, answers.length - 1)] as Look;
    return 'kind' in answer ? [what.startsWith('POST') ? 202 : 200, answer] : answer;
  };
}

const run = (answer: (asked: Asked) => Reply, line: string, options: RunOptions = {}) =>
  runAgainst((asked) => answer(asked), `upstream ${line}`, options);

/** Two looks a step, as a slower one has. */
const WHOLE = STEPS.flatMap((step) => [step, step]);

const looks = (n: number, look: Look): Look[] => Array.from({ length: n }, () => look);

test('rotate stays until new requests have gone over, a line for each step', async () => {
  const { time, slept } = fakeTime();
  const { code, stdout, stderr, asked } = await run(script(...WHOLE), 'rotate', { time });
  expect(code).toBe(0);
  expect(asked.slice(0, 2).map(({ what, body }) => [what, body])).toEqual([
    ['POST /api/upstream/rotate', undefined],
    ['GET /api/upstream/handovers/handover-12', undefined],
  ]);
  expect(asked[0]?.headers['x-sidecar-actor']).toMatch(/^[\x21-\x7e]+$/);
  expect(slept).toEqual(Array(6).fill(SECOND));
  await expect(stdout).toMatchFileSnapshot('../transcripts/upstream-rotate.txt');
  await expect(stderr).toMatchFileSnapshot('../transcripts/upstream-rotate-stderr.txt');
});

test('with --wait it stays until the one before has ended', async () => {
  const { time } = fakeTime();
  const answers = WHOLE.map((each) => ({ ...each, cut: each.state === 'done' ? 2 : 0 }));
  const { code, stdout, stderr } = await run(script(...answers), 'rotate --wait', { time });
  expect(code).toBe(0);
  await expect(stdout).toMatchFileSnapshot('../transcripts/upstream-rotate-wait.txt');
  expect(stderr).toMatch(/handover-12: draining since 14:03:19 UTC \(\d s\); waits for 3 requests/);
});

test.each([
  ['reload', { dryRun: false }],
  ['reload --dry-run', { dryRun: true }],
])('%s asks for %j', async (line, body) => {
  const { code, asked } = await run(script(STEPS[5] as HandoverView), line);
  expect(code).toBe(0);
  expect(asked.map((one) => [one.what, one.body])).toEqual([['POST /api/upstream/reload', body]]);
});

test('reload says that it is the configuration', async () => {
  const view = handoverView({ kind: 'reload', state: 'switched', switchedAt: ago(0) });
  const { stdout, stderr } = await run(script(view), 'reload');
  expect(stderr).toContain('handover-12 has begun: the configuration as it is now, from slot a to');
  expect(stdout).toMatch(/^LiteLLM in slot b answers new requests, with the configuration as it/);
  expect(stdout).not.toContain('model');
});

test('a dry run ends without a switch', async () => {
  const models = { ...MODELS, added: [], vanished: [] };
  const [, starting] = STEPS;
  const done = handoverView({ kind: 'dry-run', state: 'done', endedAt: ago(0), models });
  const begun = { ...(starting as HandoverView), kind: 'dry-run' } as const;
  const { code, stdout } = await run(script(begun, done), 'reload --dry-run');
  expect(code).toBe(0);
  expect(stdout).toBe(
    'the configuration came up in slot b; nothing was switched\n' +
      '  12 models, as before\n' +
      '  next: sidecar upstream reload switches to it\n',
  );
});

test('one that waits says for what, and one that waits still is no end', async () => {
  const { time, slept } = fakeTime();
  const waiting = handoverView({ state: 'waiting', waitsFor: 'handover-11 to end' });
  const answers = [...looks(30, waiting), ...STEPS];
  const { code, stderr } = await run(script(...answers), 'rotate', { time });
  expect([code, slept.length]).toEqual([0, 33]);
  const said = 'handover-12: waiting since 14:03:10 UTC (0 s); waits for handover-11 to end\n';
  expect(stderr).toContain(said);
  expect(stderr.match(/: waiting since/g)).toHaveLength(1);
});

test('a number that changes each second is said every ten', async () => {
  const { time } = fakeTime();
  const drain = (n: number) =>
    handoverView({ state: 'draining', switchedAt: ago(0), waitsFor: `${n} requests` });
  const draining = Array.from({ length: 25 }, (_, n) => drain(25 - n));
  const answers = [...draining, STEPS[5] as HandoverView];
  const { stderr } = await run(script(...answers), 'rotate --wait', { time });
  expect(stderr.match(/waits for \d+ requests/g)).toEqual([
    'waits for 25 requests',
    'waits for 15 requests',
    'waits for 5 requests',
  ]);
});

const FAILED = rolledBack({ id: 'handover-12', kind: 'rotate', by: 'cli:alice' });

test('a roll-back is 1, with the reason, what to do, and the last words', async () => {
  const { code, stdout, stderr } = await run(script(STEPS[1] as HandoverView, FAILED), 'rotate');
  expect([code, stdout]).toEqual([1, '']);
  await expect(stderr).toMatchFileSnapshot('../transcripts/upstream-rolled-back.txt');
});

test('one that dies after the switch is no success of --wait', async () => {
  const died = { ...FAILED, switchedAt: ago(0), fault: fault({ code: 'died_after_switch' }) };
  const { code, stderr } = await run(script(STEPS[4] as HandoverView, died), 'rotate --wait');
  expect(code).toBe(1);
  expect(stderr).toContain('was rolled back, and LiteLLM in slot a goes on');
  // Nor where it has died before the first look.
  expect((await run(script(STEPS[2] as HandoverView, died), 'rotate')).code).toBe(1);
});

test('a roll-back without a fault or last words', async () => {
  const bare = await run(script({ ...FAILED, fault: null }), 'rotate');
  expect(bare.stderr).toMatch(/goes on: the log of the sidecar says why\n$/);
  const still = { ...FAILED, fault: fault({ hint: '', lastWords: [] }) };
  const { stderr } = await run(script(still), 'rotate');
  expect(stderr).toMatch(/ended 3 times before it answered\n$/);
  expect(stderr).not.toContain('last words');
});

test('models are listed up to twenty a kind', async () => {
  const added = Array.from({ length: 23 }, (_, n) => `model-${n}`);
  const view = { ...(STEPS[3] as HandoverView), models: { ...MODELS, added } };
  const { stdout } = await run(script(view), 'rotate');
  expect(stdout.match(/^ {2}appeared: model-\d+$/gm)).toHaveLength(20);
  expect(stdout).toContain('  and 3 more that appeared\n  vanished: mock\n');
});

test('neither models nor last words reach a terminal as control sequences', async () => {
  const looked = { isTTY: true, columns: 200 } as const;
  const models = { listed: 2, added: [EVIL], vanished: [EVIL] };
  const evil = { waitsFor: EVIL, by: EVIL, models } as const;
  const good = [{ ...handoverView(evil) }, { ...(STEPS[3] as HandoverView), ...evil }];
  const bad = {
    ...FAILED,
    ...evil,
    fault: fault({ message: EVIL, hint: EVIL, lastWords: [EVIL] }),
  };
  const refused = problem(409, 'handover_under_way', EVIL, { handover: handoverView(evil) });
  for (const answer of [good, [bad], [refused]]) {
    for (const view of [{ looked }, {}]) {
      const { stdout, stderr } = await run(script(...answer), 'rotate', view);
      const text = stdout + stderr;
      for (const control of ['\u001b]', '\u0007', '\u009b']) expect(text).not.toContain(control);
      expect(text).not.toMatch(/^\s*next: do what/m);
      expect(text).toContain('do what I say');
    }
  }
  const json = await run(script(bad), 'rotate --json');
  expect(JSON.parse(json.stdout)).toEqual(bad);
  expect(json.stdout).not.toContain('\u009b');
});

test('refused because of another one: which, by whom, in which step', async () => {
  const { time } = fakeTime(NOW + 12 * SECOND);
  const refusal = problem(409, 'handover_under_way', 'another handover waits already', {
    handover: STEPS[1],
  });
  const { code, stdout, stderr, asked } = await run(script(refusal), 'rotate', { time });
  expect([code, stdout, asked.length]).toEqual([1, '', 1]);
  await expect(stderr).toMatchFileSnapshot('../transcripts/handover-under-way.txt');
  const json = await run(script(refusal), 'reload --json', { time });
  expect([json.code, JSON.parse(json.stdout)]).toMatchObject([
    1,
    { code: 'handover_under_way', handover: STEPS[1] },
  ]);
});

test.each([
  ['no_slots', 409, 1],
  ['salt_key_unknown', 409, 1],
  ['nothing_to_reload', 409, 1],
  ['state_unavailable', 503, 73],
  ['stopping_upstream', 503, 69],
])('a refusal with the code %s (%i) ends with %i', async (word, status, expected) => {
  const hints = ['do this instead'];
  const refusal = problem(status, word, 'it is not so', { hints });
  const { code, stdout, stderr, asked } = await run(script(refusal), 'reload');
  expect([code, stdout, asked.length]).toEqual([expected, '', 1]);
  expect(stderr).toContain('sidecar: it is not so\n  hint: do this instead\n');
});

test('--json prints the final view alone on stdout, and progress elsewhere', async () => {
  const { code, stdout, stderr } = await run(script(...STEPS), 'rotate --wait --json');
  expect([code, JSON.parse(stdout)]).toEqual([0, STEPS[5]]);
  expect(stderr).toContain('handover-12: starting since');
  const failed = await run(script(STEPS[1] as HandoverView, FAILED), 'rotate --json');
  expect([failed.code, JSON.parse(failed.stdout)]).toEqual([1, FAILED]);
  expect(failed.stderr).toContain('sidecar: handover-12 was rolled back');
});

test('a sidecar that restarts meanwhile is waited for, and asked for the same one', async () => {
  const { time } = fakeTime();
  const away = [...looks(20, stopping), ...looks(20, cut)];
  const answers = [STEPS[1] as HandoverView, ...away, ...STEPS.slice(2)];
  const { code, stderr, asked } = await run(script(...answers), 'rotate', { time });
  expect(code).toBe(0);
  expect(stderr.match(/still watching/g)).toHaveLength(1);
  expect(new Set(asked.slice(1).map(({ what }) => what))).toEqual(
    new Set(['GET /api/upstream/handovers/handover-12']),
  );
  expect(asked.filter(({ what }) => what.startsWith('POST'))).toHaveLength(1);
});

test('each time it is away has a minute of its own', async () => {
  const away = looks(40, stopping);
  const begun = STEPS[1] as HandoverView;
  const answers = [begun, ...away, STEPS[2] as HandoverView, ...away, ...STEPS.slice(3)];
  const { code, stderr } = await run(script(...answers), 'rotate');
  expect(code).toBe(0);
  expect(stderr.match(/still watching/g)).toHaveLength(2);
});

test('a sidecar that stays away ends it with 69 after a minute; the handover goes on', async () => {
  const { time, slept } = fakeTime();
  const answer = script(STEPS[1] as HandoverView, stopping);
  const { code, stdout, stderr } = await run(answer, 'rotate --json', { time });
  expect(code).toBe(69);
  expect(slept.filter((ms) => ms === SECOND)).toHaveLength(61);
  expect(stderr).toMatch(
    /stopped watching: the sidecar is stopping\n {2}hint: the handover goes on without this/,
  );
  expect(JSON.parse(stdout)).toEqual(STEPS[1]);
});

test('one that the sidecar knows no more is a failure, and one document', async () => {
  const gone = problem(404, 'unknown_handover', 'there was no handover-12');
  const answer = script(STEPS[1] as HandoverView, gone);
  const { code, stdout, stderr } = await run(answer, 'rotate --json');
  expect(code).toBe(1);
  expect(stderr).toContain('stopped watching: the sidecar knows of no handover-12 any more\n');
  expect(JSON.parse(stdout)).toEqual(STEPS[1]);
});

test.each(['between two looks', 'while the sidecar is silent'])('Ctrl-C %s', async (when) => {
  const ctrlC = new AbortController();
  const time = { now: () => NOW, sleep: () => Promise.resolve(ctrlC.abort()) };
  const silent: Reply = () => void setImmediate(() => ctrlC.abort());
  const begun = STEPS[1] as HandoverView;
  const options = {
    time: when === 'between two looks' ? time : fakeTime().time,
    interrupts: () => ctrlC.signal,
  };
  const { code, stdout, stderr } = await run(script(begun, silent), 'rotate --json', options);
  expect(code).toBe(130);
  expect(stderr).not.toContain('still watching');
  expect(stderr).toMatch(
    /sidecar: stopped watching; handover-12 goes on\n {2}hint: sidecar upstream status .*\n$/,
  );
  expect(JSON.parse(stdout)).toEqual(begun);
});

test('nobody asks for Ctrl-C before there is something to watch', async () => {
  const interrupts = (): AbortSignal => {
    throw new Error('asked');
  };
  const { code } = await run(script(problem(409, 'no_slots', 'no')), 'rotate', { interrupts });
  expect(code).toBe(1);
});

test('on a terminal the steps change in place, and go at the end', async () => {
  const { time } = fakeTime();
  const looked = { isTTY: true, columns: 60 } as const;
  const { code, stderr } = await run(script(...STEPS), 'rotate --wait', { time, looked });
  expect(code).toBe(0);
  const [, ...frames] = stderr.split(CURSOR_UP);
  const drawn = frames.map((frame) => stripVTControlCharacters(`\u001b[${frame}`));
  // A title and five steps; the last one takes them away.
  expect(frames.map((frame) => frame.split('A', 1)[0])).toEqual(Array(6).fill('6'));
  for (const frame of drawn) {
    for (const line of frame.split('\n')) expect(line.length).toBeLessThan(60);
  }
  await expect(`${drawn[3]?.trimStart()}`).toMatchFileSnapshot('../transcripts/handover-tty.txt');
  expect(drawn.at(-1)?.trim()).toBe('');
});

test('on a terminal a step that no look has seen has no time, but for the switch', async () => {
  const looked = { isTTY: true, columns: 60 } as const;
  const answer = script(...[0, 4, 5].map((at) => STEPS[at] as HandoverView));
  const { stderr } = await run(answer, 'rotate --wait', { looked });
  const frame = stripVTControlCharacters(`\u001b[${stderr.split(CURSOR_UP)[1] ?? ''}`);
  expect(frame).toContain('✔ starting\n  ✔ verified\n  ✔ switched since 14:03:18 UTC\n');
});

test('on a terminal a try has three steps, and one that waited four or more', async () => {
  const looked = { isTTY: true, columns: 60 } as const;
  const heightOf = async (view: HandoverView): Promise<string | undefined> => {
    const { stderr } = await run(script(view, STEPS[5] as HandoverView), 'rotate', { looked });
    return stderr.split(CURSOR_UP)[1]?.split('A', 1)[0];
  };
  expect(await heightOf(handoverView({ kind: 'dry-run' }))).toBe('4');
  expect(await heightOf(handoverView({ state: 'waiting' }))).toBe('7');
});
