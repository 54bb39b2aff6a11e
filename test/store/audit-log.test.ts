import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createAuditLog } from '../../src/store/audit-log.ts';
import { verifyAudit } from '../../src/store/audit-reader.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { failAt, onDiskSteps } from '../support/disk-steps.ts';
import { eachInFolder } from '../support/folder.ts';
import { settledOf, withLines } from '../support/keyrings.ts';
import { first, linesOf, master, saveBoth, second } from './stage.ts';

const folder = eachInFolder('audit-log');
const path = (): string => join(folder(), 'keyring.json');
const auditIn = (): string => join(folder(), 'audit.jsonl');

const TORN = expect.stringMatching(/bytes of a torn line were cut off the audit$/);
const appended = (lines: number): string =>
  `${lines} lines were lacking in the audit, and were appended`;

async function mended() {
  const repairs: string[] = [];
  const store = createFileStore({ folder: folder(), onRepair: (each) => repairs.push(each) });
  const stored = await store.load();
  return { store, stored, repairs };
}

describe('an audit that was damaged', () => {
  it('is mended wherever a kill tore its last line', async () => {
    await saveBoth(folder());
    const text = await readFile(auditIn(), 'utf8');
    const start = text.indexOf('\n') + 1;
    for (let length = start; length < text.length; length++) {
      await writeFile(auditIn(), text.slice(0, length));
      const { store, stored, repairs } = await mended();
      expect(stored).toStrictEqual({ keyring: settledOf(second), version: 2 });
      expect(await readFile(auditIn(), 'utf8')).toBe(text);
      const torn = length > start && length < text.length - 1;
      expect(repairs).toEqual(torn ? [TORN, appended(1)] : [appended(1)]);
      expect(store.warnings).toEqual(repairs);
    }
    expect((await mended()).repairs).toEqual([]);
  });

  it('is mended where a power cut left something else behind its last line', async () => {
    await saveBoth(folder());
    const text = await readFile(auditIn(), 'utf8');
    for (const rest of ['\0\0\0\0', '\0\0\n', '{"seq":3,\n', '{"seq":3,"prev":""}']) {
      await writeFile(auditIn(), text + rest);
      const { repairs } = await mended();
      expect(repairs).toEqual([TORN]);
      expect(repairs[0]).toContain(`${rest.length} bytes`);
      expect(await readFile(auditIn(), 'utf8')).toBe(text);
    }
  });

  it('keeps whole lines that cannot be read, where the keyring does not have them any more', async () => {
    await saveBoth(folder());
    await createFileStore({ folder: folder() }).save(settledOf(second), 2);
    const text = (await readFile(auditIn(), 'utf8')).replaceAll('"seq"', '"sql"');
    await writeFile(auditIn(), `${text}half`);
    const { store, repairs } = await mended();
    expect(repairs).toEqual(['4 bytes of a torn line were cut off the audit']);
    expect(store.warnings.join()).toMatch('the audit lacks 2 lines');
    expect(await readFile(auditIn(), 'utf8')).toBe(text);
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 1 });
  });

  it('keeps its last line where only the line feed is gone, pending or not', async () => {
    await saveBoth(folder());
    await createFileStore({ folder: folder() }).save(settledOf(second), 2);
    const text = await readFile(auditIn(), 'utf8');
    await writeFile(auditIn(), text.slice(0, -1));
    expect((await mended()).repairs).toEqual([appended(1)]);
    expect(await readFile(auditIn(), 'utf8')).toBe(text);
  });

  it('says what it lacks, and goes on', async () => {
    await saveBoth(folder());
    await createFileStore({ folder: folder() }).save(settledOf(second), 2);
    const text = await readFile(auditIn(), 'utf8');
    const one = text.slice(0, text.indexOf('\n') + 1);
    for (const [left, lost] of [
      [one, 1],
      ['', 2],
    ] as const) {
      await writeFile(auditIn(), left);
      const { store, stored } = await mended();
      expect(store.warnings.join()).toMatch(`the audit lacks ${lost} lines`);
      expect(stored).toMatchObject({ keyring: { audit: { count: 2 } } });
      expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 3 - lost });
    }
    await rm(auditIn());
    const { store } = await mended();
    expect(store.warnings.join()).toMatch('the audit lacks 2 lines');
    await store.save(withLines(second, ['three']), 3);
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 1 });
  });

  it('says that its last line was changed', async () => {
    await saveBoth(folder());
    const text = await readFile(auditIn(), 'utf8');
    await writeFile(auditIn(), text.replace('"two"', '"too"'));
    const { store } = await mended();
    expect(store.warnings.join()).toMatch(/last line was changed/);
  });

  it('is longer than a keyring that was put back: nothing is thrown away', async () => {
    await saveBoth(folder());
    await cp(`${path()}.bak`, path());
    const { store, stored, repairs } = await mended();
    expect(repairs).toEqual([expect.stringMatching(/has 1 lines more than the keyring counts/)]);
    expect(stored).toStrictEqual({
      version: 1,
      keyring: { ...settledOf(first), audit: settledOf(second).audit },
    });
    const next = withLines(stored?.keyring ?? first, ['put back']);
    await store.save(next, 1);
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 3 });
  });

  it('has lines that somebody else wrote: they are not taken for ours', async () => {
    await saveBoth(folder());
    const text = await readFile(auditIn(), 'utf8');
    await writeFile(auditIn(), `${text}{"seq":3,"prev":"forged"}\n`);
    const { store, stored, repairs } = await mended();
    expect(repairs).toEqual([]);
    expect(store.warnings.join()).toMatch(/did not write/);
    expect(stored).toMatchObject({ keyring: { audit: { count: 2 } } });
    expect(await verifyAudit(folder())).toMatchObject({ ok: false, line: 3 });
  });
});

describe('an append that fails', () => {
  it('is cut off at the latest by the next one, where it cannot be at once', async () => {
    let failing: readonly string[] = ['sync audit.jsonl', 'cut audit.jsonl'];
    const path = auditIn();
    const log = createAuditLog(path, () => undefined);
    const append = (lines: readonly string[]): Promise<void> => log.append(lines, 0);
    onDiskSteps(folder(), (name) => {
      if (failing.includes(name)) throw new Error(name);
    });
    await append(['one']);
    expect(log.warnings.join()).toMatch(/^sync audit.jsonl; its new lines are kept/);
    expect(await readFile(path, 'utf8')).toBe('one\n');
    failing = [];
    await append(['one', 'two']);
    expect(log.warnings).toEqual([]);
    expect(await readFile(path, 'utf8')).toBe('one\ntwo\n');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await append([]);
    await rm(path);
    await append(['three']);
    expect(await readFile(path, 'utf8')).toBe('three\n');
  });
});

const AUDIT_POINTS = [
  'append to audit.jsonl',
  'sync audit.jsonl',
  'sync the folder of audit.jsonl',
];

describe('an audit that cannot be written', () => {
  it.each(AUDIT_POINTS)('at %j gets its lines later, each once', async (point) => {
    const state = failAt(folder(), point, 'ENOSPC');
    const store = createFileStore({ folder: folder() });
    let keyring = withLines(master(1), ['one']);
    expect(await store.save(keyring, 0)).toBe(1);
    expect(store.warnings.join()).toMatch(/audit cannot be written.*ENOSPC.*kept in keyring.json/);
    expect(await linesOf(folder())).toEqual([]);
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 1 });
    keyring = withLines(keyring, ['two']);
    expect(await store.save(keyring, 1)).toBe(2);
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 2 });
    state.on = false;
    keyring = withLines(keyring, ['three']);
    await store.save(keyring, 2);
    expect(store.warnings).toEqual([]);
    expect(await linesOf(folder())).toHaveLength(3);
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 3 });
  });

  it('gets them with the next load', async () => {
    const state = failAt(folder(), 'append to audit.jsonl', 'EROFS');
    const store = createFileStore({ folder: folder() });
    const one = withLines(master(1), ['one', 'two']);
    await store.save(one, 0);
    const two = withLines(one, ['three']);
    await store.save(two, 1);
    state.on = false;
    const repairs: string[] = [];
    const next = createFileStore({ folder: folder(), onRepair: (repair) => repairs.push(repair) });
    expect(await next.load()).toStrictEqual({ keyring: settledOf(two), version: 2 });
    expect(repairs).toEqual([appended(3)]);
    expect(next.warnings).toEqual(['3 lines were lacking in the audit, and were appended']);
    expect(await linesOf(folder())).toHaveLength(3);
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 3 });
  });

  it('is no reason not to load: what it lacks is brought by the next save', async () => {
    const state = failAt(folder(), 'append to audit.jsonl', 'EROFS');
    const one = withLines(master(1), ['one']);
    await createFileStore({ folder: folder() }).save(one, 0);
    const repairs: string[] = [];
    const store = createFileStore({
      folder: folder(),
      onRepair: (each) => repairs.push(each),
    });
    expect(await store.load()).toStrictEqual({ keyring: settledOf(one), version: 1 });
    expect(repairs).toEqual([]);
    state.on = false;
    await store.save(withLines(one, ['two']), 1);
    expect(repairs).toEqual([appended(1)]);
    expect(await verifyAudit(folder())).toEqual({ ok: true, count: 2 });
    expect(await linesOf(folder())).toHaveLength(2);
  });

  it('is told of a caller who lost lines', async () => {
    const store = createFileStore({ folder: folder() });
    const lost = settledOf(withLines(master(1), ['one']));
    await expect(store.save(lost, 0)).rejects.toThrow(/audit lines before 2/);
    expect(await readdir(folder())).toEqual([]);
  });
});
