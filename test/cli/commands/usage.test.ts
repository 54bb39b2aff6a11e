import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createUsageDatabase, type UsageRow } from '../../../src/store/usage-database.ts';
import type { UsageLine, UsageReport } from '../../../src/usage/report.ts';
import { usageRow } from '../../usage/rows.ts';
import { ago, DAY, NOW, problem, runAgainst, runIn } from '../fake-admin.ts';

const line = (over: Partial<UsageLine> = {}): UsageLine => ({
  ...{ name: 'ci', active: null, budgetUsed: null, requests: 1204, refusals: 0, errors: 0 },
  ...{ metered: 1200, unmetered: 0, unpriced: 0, costUsd: 12.3456 },
  tokens: { input: 1_234_567, output: 9876, cached: 500, cacheWrite: 0, reasoning: 7 },
  ...over,
});
const NONE = { input: 0, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 };
const REFUSED = line({
  ...{ name: null, requests: 3, refusals: 3, metered: 0, costUsd: 0, tokens: NONE },
});
const CHEAP = line({
  ...{ name: 'batch', requests: 20, metered: 20, costUsd: 0.000123456 },
  tokens: { ...NONE, input: 12_345, output: 150_000 },
});

const report = (over: Partial<UsageReport> = {}): UsageReport => ({
  ...{ by: 'client', client: null, model: null, since: ago(7 * DAY), until: ago(0) },
  rows: [line()],
  total: line(),
  store: { up: true, error: null, lastWrittenAt: ago(30_000), pendingRows: 2 },
  ...over,
});

test('usage is a table with a bar for each share of what was paid', async () => {
  const rows = [line(), line({ name: 'master', costUsd: 5 }), CHEAP, REFUSED];
  const total = line({ ...{ requests: 2431, refusals: 3, metered: 2420, costUsd: 17.3456 } });
  const { code, stdout, asked } = await runAgainst([200, report({ rows, total })], 'usage');
  expect(code).toBe(0);
  expect(asked.map(({ what }) => what)).toEqual(['GET /api/usage?by=client&since=7d']);
  expect(stdout).toBe(`usage by client, 2026-11-17 14:03 UTC to 2026-11-24 14:03 UTC

client  requests  refused  input  output       USD
ci         1,204        0  1.23M   9,876     12.35  ████████
master     1,204        0  1.23M   9,876      5.00  ███▎
batch         20        0  12.3k    150k  0.000123
-              3        3      0       0         -
total      2,431        3  1.23M   9,876     17.35
`);
});

test('the share of today’s budget stands beside who has one', async () => {
  const rows = [line({ budgetUsed: 0.626 }), line({ name: 'master', costUsd: 5 })];
  const { stdout } = await runAgainst([200, report({ rows })], 'usage');
  expect(stdout).toMatch(/^client .* USD {2}budget$/m);
  expect(stdout).toMatch(/^ci .* 12\.35 {4}62 % {2}█+/m);
  expect(stdout).toMatch(/^master .* 5\.00 {7}- {2}█/m);
});

test('what it is asked for goes to the sidecar, and stands above the table', async () => {
  const answer = report({ by: 'model', client: 'ci', model: 'gpt-4o', rows: [] });
  const words = 'usage --by model --since 2026-11-01 --client ci --model gpt-4o';
  const { stdout, asked } = await runAgainst([200, answer], words);
  expect(asked.map(({ what }) => what)).toEqual([
    'GET /api/usage?by=model&since=2026-11-01&client=ci&model=gpt-4o',
  ]);
  expect(stdout).toMatch(/^usage by model of ci, gpt-4o, .*\n\nnothing was counted\n$/);
});

test.each([
  [{ unmetered: 300 }, '20 % of 1,500 answers said no usage'],
  [{ unmetered: 1, metered: 100_000 }, 'less than 0.1 % of 100,001 answers said no usage'],
  [{ unpriced: 1200 }, '100 % of 1,200 answers with usage had no price'],
])('says what is missing in its numbers: %j', async (over, words) => {
  const { stdout } = await runAgainst([200, report({ total: line(over) })], 'usage');
  expect(stdout).toMatch(new RegExp(`\n\n${words}\n$`));
});

test('says where not all of it is there', async () => {
  const store = { up: false, error: 'usage.db is locked', lastWrittenAt: ago(0), pendingRows: 9 };
  const { stdout } = await runAgainst([200, report({ store })], 'usage');
  expect(stdout).toMatch(/\n\nnot all of it: usage.db is locked; last written 14:03:10 UTC\n$/);
});

test.each([
  [
    'where nothing has a price',
    { costUsd: 0, unpriced: 10, metered: 10 },
    /1\.23M +9,876 +- +█{8}/,
  ],
  ['where it was free', { costUsd: 0, unpriced: 9, metered: 10 }, /1\.23M +9,876 +0 +█{8}/],
])('bars show tokens %s', async (_, over, wanted) => {
  const answer = report({ rows: [line(over)], total: line(over) });
  expect((await runAgainst([200, answer], 'usage')).stdout).toMatch(wanted);
});

test.each([
  ['hour', '2026-11-24T13:00:00.000Z', '2026-11-24 13h'],
  ['day', '2026-11-24', '2026-11-24'],
] as const)('a row of an %s', async (by, name, shown) => {
  const { stdout } = await runAgainst(
    [200, report({ by, rows: [line({ name })] })],
    `usage --by ${by}`,
  );
  expect(stdout).toContain(`\n${shown}  `);
});

test('a key that was not the active one is marked', async () => {
  const rows = [line({ name: 'ci-2', active: true }), line({ name: 'ci-1', active: false })];
  const { stdout } = await runAgainst([200, report({ by: 'key', rows })], 'usage --by key');
  expect(stdout).toMatch(/\nci-2 {10}/);
  expect(stdout).toMatch(/\nci-1 \(older\) {2}/);
});

test.each([
  ['claude-sonnet-4-5-20250929', true],
  ['openrouter/anthropic/claude-sonnet-4-5-20250929', false],
  ['x'.repeat(200), false],
])('fits into 80 columns with %s', async (name, hasBar) => {
  const rows = [line({ name, refusals: 1, errors: 1 }), CHEAP];
  const total = line({ refusals: hasBar ? 0 : 12_345, errors: hasBar ? 0 : 12_345 });
  const looked = { isTTY: true, columns: 80 } as const;
  const { stdout } = await runAgainst([200, report({ rows, total })], 'usage', { looked });
  const lines = stripVTControlCharacters(stdout).split('\n');
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(80);
  expect(stdout.includes('█')).toBe(hasBar);
  expect(stdout).toContain(name.slice(0, 20));
});

test('a name with escape sequences stays a name', async () => {
  const rows = [line({ name: 'a\u001b[31mb\nc' })];
  const { stdout } = await runAgainst([200, report({ rows })], 'usage');
  expect(stdout).toContain('\na [31mb c  ');
});

test('--json is the document, and --csv its rows', async () => {
  const json = await runAgainst([200, report()], 'usage --json');
  expect(JSON.parse(json.stdout)).toEqual(report());
  const names = ['=1+1', '+a', '-a', '@a', 'a,"b"\nc', null].map((name) => line({ name }));
  const { stdout } = await runAgainst([200, report({ rows: names })], 'usage --csv');
  const [head, ...rows] = stdout.split('\r\n');
  expect(head).toBe(
    'client,requests,refusals,errors,metered,unmetered,unpriced,input_tokens,output_tokens,' +
      'cached_tokens,cache_write_tokens,reasoning_tokens,cost_usd',
  );
  const rest = '1204,0,0,1200,0,0,1234567,9876,500,0,7,12.3456';
  const cells = ["'=1+1", "'+a", "'-a", "'@a", '"a,""b""\nc"', ''];
  expect(rows).toEqual([...cells.map((cell) => `${cell},${rest}`), '']);
});

test.each([
  ['--by week', /^sidecar: .*'week' is invalid/],
  ['--since 7', /^sidecar: .*'7' is invalid.*\n.*did you mean 7s\?/],
  ['--since 0', /^sidecar: .*'0' is invalid.*\n.*that is now/],
  ['--since 2026-02-30', /^sidecar: .*\n.*there is no such day/],
  ['--client Master', /^sidecar: .*\n.*did you mean master\?/],
])('%s is wrong usage', async (flag, said) => {
  const { code, stdout, stderr, asked } = await runAgainst([200, report()], `usage ${flag}`);
  expect([code, stdout, asked]).toEqual([2, '', []]);
  expect(stderr).toMatch(said);
});

test('a refusal is a refusal, and no reason to read the file', async () => {
  const { code, stderr } = await runAgainst(problem(503, 'stopping', 'the sidecar stops'), 'usage');
  expect(code).toBe(69);
  expect(stderr).toContain('the sidecar stops');
});

describe('where no sidecar runs', () => {
  let cwd: string;
  let path: string;
  beforeEach(() => {
    cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
    mkdirSync(join(cwd, 'state'));
    path = join(cwd, 'state', 'usage.db');
  });
  afterEach(() => rmSync(cwd, { recursive: true }));

  const hour = Math.floor(NOW / 3_600_000) * 3600;
  function store(...rows: readonly UsageRow[]): void {
    const database = createUsageDatabase({ path });
    database.write({ id: 'one', at: hour, rows });
    database.close();
  }

  test('the file is read', async () => {
    store(usageRow({ hour }), usageRow({ hour: hour - 8 * 86_400 }));
    const { code, stdout, stderr } = await runIn(cwd, 'usage');
    expect(code).toBe(0);
    expect(stderr).toBe(`sidecar: no sidecar runs: this is what ${path} holds\n`);
    expect(stdout).toMatch(/\nci +1 +10 +20 +0.00100 /);
    const json = JSON.parse((await runIn(cwd, 'usage --since 30d --json')).stdout) as UsageReport;
    expect(json.total.requests).toBe(2);
  });

  test('and where there is none either, that is said', async () => {
    const { code, stderr } = await runIn(cwd, 'usage');
    expect(code).toBe(69);
    expect(stderr).toMatch(/no sidecar/);
    const exported = await runIn(cwd, 'usage export');
    expect([exported.code, exported.stderr]).toEqual([
      1,
      `sidecar: there is no ${path}: nothing was written so far\n`,
    ]);
  });

  test('a file that is none is told', async () => {
    writeFileSync(path, 'no database '.repeat(500));
    const { code, stderr } = await runIn(cwd, 'usage');
    expect([code, stderr]).toEqual([1, `sidecar: ${path} is damaged\n`]);
  });

  test('export writes each row, in the order of time', async () => {
    const rows = Array.from({ length: 2500 }, (_, at) =>
      usageRow({ hour: hour - 3600 * (at % 50), model: `m${at}`, active: at % 2 === 0 }),
    );
    store(...rows, usageRow({ hour, model: '=cmd|calc', client: '', key: '' }));
    const { code, stdout } = await runIn(cwd, 'usage export');
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\r\n');
    expect(lines).toHaveLength(2502);
    expect(new Set(lines).size).toBe(2502);
    expect(lines[0]).toMatch(/^hour,client,model,key,active,requests,.*,cost_usd$/);
    expect(lines.slice(1)).toEqual(
      lines
        .slice(1)
        .sort((a, b) =>
          a.slice(0, 16) < b.slice(0, 16) ? -1 : a.slice(0, 16) > b.slice(0, 16) ? 1 : 0,
        ),
    );
    expect(lines).toContain("2026-11-24 14:00,,'=cmd|calc,,true,1,0,0,1,0,0,10,20,0,0,0,0.001");
  });
});

test('export has a running sidecar write what it has first, and says where it cannot', async () => {
  const answer = { up: false, error: 'the disk is full', lastWrittenAt: null, pendingRows: 1 };
  const { stderr, asked } = await runAgainst([200, answer], 'usage export');
  expect(asked.map(({ what }) => what)).toEqual(['POST /api/usage/save']);
  expect(stderr).toContain(
    'sidecar: what the sidecar has in memory is missing: the disk is full\n',
  );
});
