import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verifyAudit } from '../../src/store/audit-reader.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { childProgram } from '../support/child-program.ts';

const SAVER = await childProgram(new URL('saving-store.ts', import.meta.url));

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'store-crash-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Resolves to the last version that the process was told is saved, once it is dead. */
async function saveUntilKilled(point: string, nth: number): Promise<number> {
  const child = spawn(process.execPath, [SAVER, folder, point, `${nth}`]);
  const [said, complaints] = [text(child.stdout), text(child.stderr)];
  const [, signal] = await once(child, 'exit');
  expect({ signal, complaints: await complaints }).toEqual({ signal: 'SIGKILL', complaints: '' });
  return Number((await said).trimEnd().split('\n').at(-1) ?? 0);
}

const POINTS = [
  'create keyring.json',
  'write keyring.json',
  'sync keyring.json',
  'link keyring.json.bak',
  'rename keyring.json.bak',
  'remove keyring.json.bak',
  'rename keyring.json',
  'sync the folder of keyring.json',
  'append to audit.jsonl',
  'sync audit.jsonl',
];

/** Those before which the new keyring has its name already. */
const STEPS_AFTER = new Set(POINTS.slice(-3));

describe('a kill in the middle of a save', () => {
  it.each(POINTS)('before %j leaves the last save or the one under way, whole', async (point) => {
    let before = 0;
    // The first save of all has nothing to back up; the second life begins where a crash ended.
    for (const nth of [1, 2, 3]) {
      const told = Math.max(before, await saveUntilKilled(point, nth));
      const store = createFileStore({ folder });
      const stored = await store.load();
      const version = stored?.version ?? 0;
      expect([told, told + 1]).toContain(version);
      const { changedAt, audit } = stored?.keyring ?? { changedAt: 0, audit: { count: 0 } };
      expect({ changedAt, count: audit.count }).toEqual({ changedAt: version, count: 2 * version });
      expect(await verifyAudit(folder)).toEqual({ ok: true, count: 2 * version });
      const lines = await readFile(join(folder, 'audit.jsonl'), 'utf8').catch(() => '');
      expect(lines.split('\n')).toHaveLength(2 * version + 1);
      await store.close();
      before = version;
    }
    expect(before).toBeGreaterThan(0);
  });
});

describe('a kill in the middle of the first save after format 1', () => {
  it.each(POINTS)(
    'before %j leaves the old file as it was, or all of it in format 2',
    async (point) => {
      const old = (name: string) => new URL(`../store/format-1-${name}.txt`, import.meta.url);
      await copyFile(old('keyring'), join(folder, 'keyring.json'));
      await copyFile(old('audit'), join(folder, 'audit.jsonl'));
      const before = await createFileStore({ folder }).load();
      await saveUntilKilled(point, 1);
      const text = await readFile(join(folder, 'keyring.json'), 'utf8');
      const isNew = STEPS_AFTER.has(point);
      if (isNew) expect(JSON.parse(text)).toMatchObject({ format: 2, version: 22 });
      else expect(text).toBe(await readFile(old('keyring'), 'utf8'));
      const store = createFileStore({ folder });
      const after = await store.load();
      expect(after?.version).toBe(isNew ? 22 : 21);
      expect(after?.keyring.clients).toEqual(before?.keyring.clients);
      expect(after?.keyring.tombstones).toEqual(before?.keyring.tombstones);
      expect(after?.keyring.declared).toEqual(before?.keyring.declared);
      expect(await verifyAudit(folder)).toEqual({ ok: true, count: isNew ? 21 : 19 });
      await store.close();
    },
  );
});

describe('an audit that is verified while another process writes', () => {
  it('holds each time', async () => {
    const child = spawn(process.execPath, [SAVER, folder, 'never', '1']);
    const ended = once(child, 'exit');
    try {
      let version = 0;
      child.stdout.setEncoding('utf8').on('data', (said: string) => {
        version = Number(said.trimEnd().split('\n').at(-1));
      });
      await once(child.stdout, 'data');
      const from = version;
      for (let round = 0; round < 20 || version < from + 15; round++) {
        expect(await verifyAudit(folder)).toMatchObject({ ok: true });
      }
    } finally {
      child.kill('SIGKILL');
      await ended;
    }
    const store = createFileStore({ folder });
    const stored = await store.load();
    expect(await verifyAudit(folder)).toEqual({ ok: true, count: stored?.keyring.audit.count });
  });
});
