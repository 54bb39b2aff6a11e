import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type AuditEntry, appendLine } from '../../../src/keyring/audit.ts';
import { EMPTY_KEYRING, type Keyring } from '../../../src/keyring/keyring.ts';
import { createFileStore } from '../../../src/store/file-store.ts';
import { ago, MINUTE, NOW, runIn } from '../fake-admin.ts';

let cwd: string;
let state: string;
let path: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
  state = join(cwd, 'state');
  path = join(state, 'audit.jsonl');
  mkdirSync(state);
});
afterEach(() => rmSync(cwd, { recursive: true }));

const ENTRIES: readonly AuditEntry[] = [
  { at: ago(9 * MINUTE), by: 'sidecar', action: 'client-added', client: 'master' },
  {
    at: ago(8 * MINUTE),
    by: 'cli:alice',
    action: 'rotated',
    client: 'master',
    from: 'master-1',
    to: 'master-2',
    detail: { origin: 'made', graceMs: 86_400_000, compromised: false },
  },
  {
    at: ago(7 * MINUTE),
    by: 'api:10.0.0.7',
    action: 'revoked',
    client: 'master',
    from: 'master-1',
    detail: { compromised: true },
  },
];

async function record(entries: readonly AuditEntry[]): Promise<void> {
  const store = createFileStore({ folder: state });
  const stored = await store.load();
  const before: Keyring = stored?.keyring ?? EMPTY_KEYRING;
  const audit = entries.reduce(appendLine, { ...before.audit, pending: [] });
  await store.save({ ...before, audit }, stored?.version ?? 0);
  await store.close();
}

const many = (count: number): readonly AuditEntry[] =>
  Array.from({ length: count }, (_, n) => ({
    at: new Date(NOW + n).toISOString(),
    by: 'schedule',
    action: `action-${n + 1}`,
  }));

test('audit prints a line for each thing that was done', async () => {
  await record(ENTRIES);
  const { code, stdout, stderr } = await runIn(cwd, 'audit');
  expect([code, stderr]).toEqual([0, '']);
  await expect(stdout).toMatchFileSnapshot('../transcripts/audit.txt');
});

test('--limit is the last lines, the oldest of them first', async () => {
  await record(many(60));
  const actions = async (line: string) =>
    [...(await runIn(cwd, line)).stdout.matchAll(/action-\d+/g)].map(([action]) => action);
  expect(await actions('audit --limit 3')).toEqual(['action-58', 'action-59', 'action-60']);
  const usual = await actions('audit');
  expect([usual.length, usual[0], usual.at(-1)]).toEqual([50, 'action-11', 'action-60']);
  expect(await actions('audit --limit 1000')).toHaveLength(60);
});

test('--json is the document of the API', async () => {
  await record(ENTRIES);
  const { stdout } = await runIn(cwd, 'audit --json --limit 2');
  const { lines, count } = JSON.parse(stdout) as { lines: { seq: number }[]; count: number };
  expect(count).toBe(3);
  expect(lines.map(({ seq }) => seq)).toEqual([2, 3]);
  expect(lines[0]).toMatchObject(ENTRIES[1] ?? {});
});

test('a state folder where nothing was recorded, and one that is not there', async () => {
  const empty = await runIn(cwd, 'audit');
  expect(empty).toMatchObject({ code: 0, stdout: '' });
  expect(empty.stderr).toBe(`sidecar: nothing was recorded so far in ${state}\n`);
  for (const line of ['audit', 'audit verify']) {
    const none = await runIn(cwd, line, { env: { SIDECAR_STATE: './other' } });
    expect([none.code, none.stdout]).toEqual([1, '']);
    expect(none.stderr).toContain(`there is no state folder ${cwd}/other\n`);
    expect(none.stderr).toContain('SIDECAR_STATE');
  }
});

test('what somebody wrote into the file reaches no terminal as it is', async () => {
  await record(ENTRIES);
  const text = JSON.stringify({ seq: 4, at: 5, by: 'x\u001b[2J', action: 'a\nb', prev: '' });
  appendFileSync(path, `${text}\n{"seq":5,"prev":"","detail":7}\nno json\n`);
  const { code, stdout } = await runIn(cwd, 'audit');
  expect(code).toBe(0);
  expect(stdout).not.toContain('\u001b');
  expect(stdout).toMatch(/^ +4 .*x \[2J +a b$/m);
});

/** Follows, and is interrupted once `until` lines are out. */
async function follow(line: string, until: number, onSleep: (nth: number) => Promise<void>) {
  const ctrlC = new AbortController();
  let nth = 0;
  const sleeps: number[] = [];
  const time = {
    now: () => NOW,
    async sleep(ms: number) {
      sleeps.push(ms);
      nth += 1;
      if (nth > until) ctrlC.abort();
      else await onSleep(nth);
    },
  };
  return { ...(await runIn(cwd, line, { time, interrupts: () => ctrlC.signal })), sleeps };
}

test('--follow prints what comes, each line once, until Ctrl-C', async () => {
  await record(ENTRIES);
  const result = await follow('audit --follow --limit 1', 3, async (nth) => {
    if (nth === 2) return;
    await record([{ at: ago(0), by: 'cli:bob', action: `new-${nth}` }]);
  });
  expect([result.code, result.stderr]).toEqual([130, '']);
  const actions = result.stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/)[4]);
  expect(result.stdout.trimEnd().split('\n')).toHaveLength(3);
  expect(actions).toEqual(['revoked', 'new-1', 'new-3']);
  expect(new Set(result.sleeps)).toEqual(new Set([250]));
});

test('--follow begins before there is an audit, and takes more lines than a page', async () => {
  const result = await follow('audit --follow --json', 1, () => record(many(2500)));
  const lines = result.stdout.trimEnd().split('\n');
  const seqs = lines.map((line) => (JSON.parse(line) as { seq: number }).seq);
  expect(seqs).toEqual(Array.from({ length: 2500 }, (_, n) => n + 1));
});

test('verify: a whole audit', async () => {
  await record(ENTRIES);
  expect(await runIn(cwd, 'audit verify')).toEqual({
    code: 0,
    stdout: 'the audit is whole: 3 lines\n',
    stderr: '',
  });
  const { code, stdout } = await runIn(cwd, 'audit verify --json');
  expect([code, JSON.parse(stdout)]).toEqual([0, { ok: true, count: 3 }]);
  expect(JSON.parse((await runIn(cwd, 'audit --json verify')).stdout)).toMatchObject({ ok: true });
});

test('verify: an empty state folder', async () => {
  const { code, stdout } = await runIn(cwd, 'audit verify');
  expect([code, stdout]).toEqual([0, `nothing was recorded so far in ${state}\n`]);
});

test('verify: an edited line is named, exit code 1', async () => {
  await record(ENTRIES);
  writeFileSync(path, readFileSync(path, 'utf8').replace('cli:alice', 'cli:mallory'));
  const { code, stdout, stderr } = await runIn(cwd, 'audit verify');
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toBe(
    `sidecar: ${path} is not what was written: ` +
      'line 3 does not follow on line 2: one of the two was changed\n' +
      '  hint: keep a copy of it, and of the state folder, before anything else\n',
  );
  const json = await runIn(cwd, 'audit verify --json');
  expect([json.code, JSON.parse(json.stdout)]).toMatchObject([1, { ok: false, line: 2 }]);
});

test('verify: a keyring that cannot be read is no verdict', async () => {
  await record(ENTRIES);
  writeFileSync(join(state, 'keyring.json'), '{');
  const { code, stdout, stderr } = await runIn(cwd, 'audit verify');
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(/^sidecar: .+\n {2}hint: .+\n$/);
});

test('audit fits into 80 columns: what was done stands below', async () => {
  const entry = {
    ...{ at: ago(MINUTE), by: 'cli:alice', action: 'rotated', client: 'staging' },
    ...{ from: 'staging-1', to: 'staging-2', detail: { origin: 'made', graceMs: 86_400_000 } },
  };
  await record([entry]);
  const wide = (await runIn(cwd, 'audit')).stdout;
  const looked = { isTTY: true, columns: 80 } as const;
  const { stdout } = await runIn(cwd, 'audit', { looked, env: { NO_COLOR: '1' } });
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(2);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(lines[1]).toBe('      staging-1 → staging-2  origin made, grace 24h');
  expect(
    lines
      .map((line) => line.trim())
      .join(' ')
      .split(/ +/),
  ).toEqual(wide.trim().split(/ +/));
});
