import { expect, test } from 'vitest';
import { ago, DAY, HOUR, MINUTE, retiring, runAgainst, SECOND, whoView } from '../fake-admin.ts';

const LOOKED = { isTTY: true, columns: 90 } as const;

test('who shows the callers of a key', async () => {
  const view = whoView({ generation: retiring({ inFlight: 2, uses: 1204 }) });
  const { code, stdout, asked } = await runAgainst([200, view], 'who master-2');
  expect(code).toBe(0);
  expect(asked[0]?.what).toBe('GET /api/generations/master-2/who');
  await expect(stdout).toMatchFileSnapshot('../transcripts/who.txt');
  const json = await runAgainst([200, view], 'who master-2 --json');
  expect(JSON.parse(json.stdout)).toEqual(view);
});

test('who: nobody', async () => {
  const view = whoView({ generation: retiring({ uses: 0 }), callers: [] });
  const { stdout } = await runAgainst([200, view], 'who master-2');
  expect(stdout).toMatch(/^master-2: good until .*\nnobody has used it\n$/);
});

test.each([
  [{ state: 'disabled', expiresAt: null }, 'is disabled'],
  [{ state: 'expired', expiresAt: ago(2 * SECOND) }, 'expired 2026-11-24 14:03 UTC (2 s ago)'],
] as const)('who: a key of a client that is shut out is not good: %j', async (client, why) => {
  for (const generation of [retiring(), { ...retiring(), state: 'active' } as const]) {
    const { stdout } = await runAgainst([200, whoView({ generation, client })], 'who master-2');
    expect(stdout).toContain(`master-2: refused: its client ${why}; `);
  }
});

const CONTROLS = ['\u001b]', '\u0007', '\u009b'] as const;

test('what a caller calls itself reaches no terminal as a control sequence', async () => {
  const [first, ...others] = whoView().callers;
  const evil = { ...first, userAgent: 'a\u001b]0;owned\u0007\u009b2Jb\nc' };
  const view = { ...whoView(), callers: [evil, ...others] };
  const text = await runAgainst([200, view], 'who master-2', { looked: LOOKED });
  const [, row = ''] = text.stdout.split('10.0.0.7');
  for (const control of CONTROLS) expect(row).not.toContain(control);
  const json = await runAgainst([200, view], 'who master-2 --json');
  for (const control of CONTROLS) expect(json.stdout).not.toContain(control);
  expect(JSON.parse(json.stdout)).toEqual(view);
});

test('ages are in one unit, and a clock that jumped back is no trouble', async () => {
  const ages = [
    [999, '0 s ago'],
    [119 * SECOND, '119 s ago'],
    [2 * MINUTE, '2 min ago'],
    [2 * HOUR - 1, '119 min ago'],
    [47 * HOUR, '47 h ago'],
    [48 * HOUR, '2 d ago'],
    [-DAY, '0 s ago'],
  ] as const;
  for (const [ms, words] of ages) {
    const view = whoView({
      callers: whoView().callers.map((each) => ({ ...each, lastSeenAt: ago(ms) })),
    });
    const { stdout } = await runAgainst([200, view], 'who master-2');
    expect(stdout).toContain(`10.0.0.7     ${words} `);
  }
});
