import { styleText } from 'node:util';
import { expect, test } from 'vitest';
import {
  type CheckResult,
  formatMs,
  renderJson,
  renderSummary,
  renderTable,
  summarise,
} from '../../../src/cli/commands/check.ts';
import { capturedTerminal } from '../captured-terminal.ts';

const rows = [
  { model: 'mock', result: { state: 'ok', latencyMs: 412, firstByteMs: 398 } },
  {
    model: 'openai/gpt-4o',
    result: { state: 'failed', error: '401 Incorrect API key', status: 401, latencyMs: 1512 },
  },
  { model: 'openai/*', result: { state: 'skipped', error: 'a pattern' } },
  { model: 'slow', result: { state: 'unfinished' } },
] as const;
const { terminal: plain } = capturedTerminal();

test('the table shows model, result, latency and first byte', async () => {
  expect(`\n${await renderTable(plain, rows, false)}\n`).toBe(`
┌───────────────┬───────────────────────┬─────────┬────────────┐
│ model         │ result                │ latency │ first byte │
├───────────────┼───────────────────────┼─────────┼────────────┤
│ mock          │ ok                    │  412 ms │     398 ms │
├───────────────┼───────────────────────┼─────────┼────────────┤
│ openai/gpt-4o │ 401 Incorrect API key │   1.5 s │          - │
├───────────────┼───────────────────────┼─────────┼────────────┤
│ openai/*      │ skipped: a pattern    │       - │          - │
├───────────────┼───────────────────────┼─────────┼────────────┤
│ slow          │ not finished          │       - │          - │
└───────────────┴───────────────────────┴─────────┴────────────┘
`);
});

test('a long error wraps within the width', async () => {
  const error = 'word '.repeat(40).trim();
  const long = [{ model: 'm', result: { state: 'failed', error, latencyMs: 5 } }] as const;
  const looked = { isTTY: true, columns: 80 } as const;
  const { terminal } = capturedTerminal({ NO_COLOR: '1' }, '.', looked);
  const lines = (await renderTable(terminal, long, true)).split('\n');
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(lines.join('').match(/word/g)).toHaveLength(40);
  expect(lines[1]).toContain('first event');
});

test('results are coloured on a terminal, and nowhere else', async () => {
  const { terminal } = capturedTerminal({}, '.', { isTTY: true, columns: 100 });
  const table = await renderTable(terminal, rows, false);
  const words = ['ok', '401 Incorrect API key', 'skipped: a pattern', 'not finished'];
  for (const [at, style] of (['green', 'red', 'yellow', 'dim'] as const).entries()) {
    expect(table).toContain(styleText(style, words[at] ?? '', { validateStream: false }));
  }
  expect(await renderTable(plain, rows, false)).not.toContain('\u001b');
});

test('the summary counts what there is', () => {
  expect(renderSummary(rows)).toBe('1 of 4 ok, 1 failed, 1 skipped, 1 not finished');
  expect(renderSummary(rows.slice(0, 1))).toBe('1 of 1 ok');
});

test('json holds every row and the verdict', () => {
  expect(JSON.parse(renderJson(new URL('http://127.0.0.1:4000'), rows.slice(0, 2)))).toEqual({
    url: 'http://127.0.0.1:4000/',
    passed: false,
    ok: 1,
    failed: 1,
    skipped: 0,
    unfinished: 0,
    models: [
      { model: 'mock', state: 'ok', latencyMs: 412, firstByteMs: 398 },
      {
        model: 'openai/gpt-4o',
        state: 'failed',
        error: '401 Incorrect API key',
        status: 401,
        latencyMs: 1512,
      },
    ],
  });
});

test.each([
  [undefined, '-'],
  [0, '0 ms'],
  [999, '999 ms'],
  [1000, '1.0 s'],
  [61_234, '61.2 s'],
])('%s milliseconds are %s', (ms, text) => {
  expect(formatMs(ms)).toBe(text);
});

const ok: CheckResult = { state: 'ok', latencyMs: 10, firstByteMs: 5 };
const failed: CheckResult = { state: 'failed', error: 'no', latencyMs: 10 };
const skipped: CheckResult = { state: 'skipped', error: 'a pattern' };
const unfinished: CheckResult = { state: 'unfinished' };
const checked = (...results: CheckResult[]) => results.map((result) => ({ model: 'm', result }));

test.each([
  ['all are ok', checked(ok, ok), true],
  ['one is skipped', checked(ok, skipped), true],
  ['one failed', checked(ok, failed), false],
  ['one is not finished', checked(ok, unfinished), false],
  ['none was asked', checked(skipped), false],
  ['there is none', checked(), false],
])('where %s', (_case, models, passed) => {
  expect(summarise(models).passed).toBe(passed);
});

test('counts each state', () => {
  expect(summarise(checked(ok, ok, failed, skipped, unfinished))).toEqual({
    ok: 2,
    failed: 1,
    skipped: 1,
    unfinished: 1,
    passed: false,
  });
});
