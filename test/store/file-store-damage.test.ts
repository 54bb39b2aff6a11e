import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../src/keyring/key.ts';
import { type AuditRepair, verifyAudit } from '../../src/store/audit-log.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import type { StoredKeyring } from '../../src/store/key-store.ts';
import { decodeKeyring, encodeKeyring, seal } from '../../src/store/keyring-format.ts';
import {
  anyKeyring,
  clientOf,
  generationOf,
  keyringOf,
  settledOf,
  withLines,
} from '../support/keyrings.ts';

let folder = '';
let path = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'file-store-'));
  path = join(folder, 'keyring.json');
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const first = withLines(keyringOf([clientOf('master', 1)]), ['one']);
const second = withLines({ ...first, clients: keyringOf([clientOf('master', 2)]).clients }, [
  'two',
]);

/** Two saves, so that there is a backup. */
async function fill(): Promise<Buffer> {
  const store = createFileStore({ folder });
  await store.save(first, 0);
  await store.save(second, 1);
  return readFile(path);
}

const load = () => createFileStore({ folder }).load();

const sealedBytes = async (stored: StoredKeyring): Promise<Buffer> =>
  Buffer.concat(seal(await encodeKeyring(stored)));

describe('a keyring file that was damaged', () => {
  it('is an error wherever it is cut off', async () => {
    const bytes = await sealedBytes({ keyring: settledOf(second), version: 2 });
    for (let length = 0; length < bytes.length; length++) {
      expect(decodeKeyring(bytes.subarray(0, length))).toMatchObject({ kind: 'damaged' });
    }
    expect(decodeKeyring(bytes)).toMatchObject({ ok: true });
  });

  it('is an error or the same keyring, whatever bytes are others', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyKeyring,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        async (keyring, flips) => {
          const bytes = await sealedBytes({ keyring, version: 7 });
          for (const [where, bits] of flips) {
            const at = where % bytes.length;
            bytes[at] = (bytes[at] ?? 0) ^ bits;
          }
          const decoded = decodeKeyring(bytes);
          if (decoded.ok) expect(decoded.stored).toStrictEqual({ keyring, version: 7 });
          else expect(decoded.reason).toMatch(/checksum|JSON|newer/);
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each([
    ['half of it', (bytes: Buffer) => bytes.subarray(0, bytes.length / 2), /half written/],
    ['nothing', () => Buffer.alloc(0), /it is empty/],
    ['zeros', (bytes: Buffer) => Buffer.alloc(bytes.length), /does not read as JSON/],
    [
      'another digit',
      (bytes: Buffer) => Buffer.from(bytes.toString().replace('"version": 2', '"version": 3')),
      /does not match its checksum/,
    ],
    [
      'other spaces',
      (bytes: Buffer) => Buffer.from(JSON.stringify(JSON.parse(bytes.toString()))),
      /does not match its checksum/,
    ],
  ])('with %s says so, and names the backup', async (_name, damage, reason) => {
    const bytes = damage(await fill());
    await writeFile(path, bytes);
    const loading = load();
    await expect(loading).rejects.toMatchObject({
      kind: 'damaged',
      message: expect.stringMatching(reason),
      hint: expect.stringContaining(`reads well: stop the sidecar, and cp ${path}.bak ${path}`),
    });
    await expect(loading).rejects.toHaveProperty('message', expect.stringContaining(path));
    await expect(loading).rejects.toHaveProperty(
      'message',
      expect.not.stringContaining(digestOf('master-1')),
    );
    expect(await readFile(path)).toEqual(bytes);
    await expect(createFileStore({ folder }).save(first, 2)).rejects.toMatchObject({
      kind: 'damaged',
    });
    await cp(`${path}.bak`, path);
    expect(await load()).toMatchObject({ version: 1 });
  });

  it('says that the backup is damaged, too, or that there is none', async () => {
    await fill();
    await writeFile(path, '{');
    await writeFile(`${path}.bak`, '');
    await expect(load()).rejects.toHaveProperty(
      'hint',
      expect.stringMatching(/either: it is empty/),
    );
    await rm(`${path}.bak`);
    await expect(load()).rejects.toHaveProperty('hint', expect.stringMatching(/no backup/));
  });

  it.each([
    ['{"format":2,"keyring":"sealed otherwise"}', 'newer'],
    ['{"format":1}', 'damaged'],
    ['{"format":0}', 'damaged'],
    ['{"format":"2"}', 'damaged'],
    ['null', 'damaged'],
  ])('that says %s is %s', async (text, kind) => {
    await writeFile(path, text);
    await expect(load()).rejects.toMatchObject({ kind });
    if (kind === 'newer') {
      await expect(load()).rejects.toThrow(/was written by a newer sidecar/);
      await expect(createFileStore({ folder }).save(first, 0)).rejects.toMatchObject({ kind });
    }
  });

  const whole = {
    format: 1,
    version: 1,
    keyring: {
      changedAt: 5,
      declared: {},
      audit: { count: 0, head: '', pending: [] as string[] },
      clients: [] as unknown[],
    },
  };
  const sealed = (content: unknown) =>
    Buffer.concat(seal([JSON.stringify(content, null, 2).slice(0, -2)]));

  it.each([
    ['a field that is missing', { ...whole, version: undefined }, /its field version is wrong/],
    ['one too many', { ...whole, sk: 'sk-secret' }, /its fields are wrong/],
    [
      'a digest that is a key',
      { ...whole, keyring: { ...whole.keyring, declared: { file: 'sk-secret' } } },
      /its field keyring.declared.file is wrong/,
    ],
    [
      'a broken rule',
      { ...whole, keyring: { ...whole.keyring, audit: { count: 3, head: '', pending: [] } } },
      /it breaks a rule: the count of audit lines/,
    ],
    [
      'two clients of one name',
      {
        ...whole,
        keyring: { ...whole.keyring, clients: [clientOf('ci', 1), clientOf('ci', 2)] },
      },
      /two of its clients have one name/,
    ],
  ])(
    'that is sealed and has %s is an error that quotes nothing',
    async (_name, content, reason) => {
      await writeFile(path, sealed(content));
      const loading = load();
      await expect(loading).rejects.toMatchObject({
        kind: 'damaged',
        message: expect.stringMatching(reason),
      });
      await expect(loading).rejects.not.toThrow(/sk-secret/);
      await writeFile(path, sealed(whole));
      expect(await load()).toMatchObject({ version: 1 });
    },
  );

  it('is never written with a number that JSON does not have', async () => {
    const client = clientOf('ci', 1, { expiresAt: Infinity });
    const store = createFileStore({ folder });
    await expect(store.save(keyringOf([client]), 0)).rejects.toThrow(/not finite/);
    const once = clientOf('ci', 1, { generations: [generationOf('ci', 1)] });
    expect(await store.save(keyringOf([once]), 0)).toBe(1);
  });
});

describe('a keyring file that is not there', () => {
  it('is an error where its backup or its audit is: how to go back, and how to start anew', async () => {
    await fill();
    await rm(path);
    await expect(load()).rejects.toMatchObject({
      kind: 'damaged',
      message: expect.stringMatching(/is gone, though .*keyring.json.bak and .*audit.jsonl/),
      hint: expect.stringMatching(/cp .*; or to start anew, move .*bak and .*jsonl away/),
    });
    await expect(createFileStore({ folder }).save(first, 0)).rejects.toMatchObject({
      kind: 'damaged',
    });
    await rm(`${path}.bak`);
    await expect(load()).rejects.toMatchObject({
      kind: 'damaged',
      hint: expect.stringMatching(/no backup that can be read; to start anew, move .*jsonl away/),
    });
    await rm(join(folder, 'audit.jsonl'));
    expect(await load()).toBeUndefined();
  });

  it('is nothing where its folder is not there', async () => {
    const store = createFileStore({ folder: join(folder, 'gone') });
    expect(await store.load()).toBeUndefined();
    await expect(store.save(first, 0)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('is an error where it cannot be read', async () => {
    await mkdir(path);
    await expect(load()).rejects.toMatchObject({ kind: 'unavailable' });
    await rename(path, join(folder, 'other'));
    await writeFile(join(folder, 'file'), '');
    const store = createFileStore({ folder: join(folder, 'file') });
    await expect(store.load()).rejects.toMatchObject({ kind: 'unavailable' });
  });
});

const auditOf = (): string => join(folder, 'audit.jsonl');

async function mended() {
  const repairs: AuditRepair[] = [];
  const store = createFileStore({ folder, onRepair: (each) => repairs.push(each) });
  const stored = await store.load();
  return { store, stored, repairs, kinds: repairs.map(({ kind }) => kind) };
}

describe('an audit that was damaged', () => {
  it('is mended wherever a kill tore its last line', async () => {
    await fill();
    const text = await readFile(auditOf(), 'utf8');
    const start = text.indexOf('\n') + 1;
    for (let length = start; length < text.length; length++) {
      await writeFile(auditOf(), text.slice(0, length));
      const { store, stored, kinds } = await mended();
      expect(stored).toStrictEqual({ keyring: settledOf(second), version: 2 });
      expect(await readFile(auditOf(), 'utf8')).toBe(text);
      const torn = length > start && length < text.length - 1;
      expect(kinds).toEqual(torn ? ['torn', 'appended'] : ['appended']);
      expect(store.warnings).toHaveLength(kinds.length);
    }
    expect((await mended()).kinds).toEqual([]);
  });

  it('is mended where a power cut left something else behind its last line', async () => {
    await fill();
    const text = await readFile(auditOf(), 'utf8');
    for (const rest of ['\0\0\0\0', '\0\0\n', '{"seq":3,\n', '{"seq":3,"prev":""}']) {
      await writeFile(auditOf(), text + rest);
      const { kinds, repairs } = await mended();
      expect(kinds).toEqual(['torn']);
      expect(repairs[0]?.message).toContain(`${rest.length} bytes`);
      expect(await readFile(auditOf(), 'utf8')).toBe(text);
    }
  });

  it('keeps its last line where only the line feed is gone, pending or not', async () => {
    await fill();
    await createFileStore({ folder }).save(settledOf(second), 2);
    const text = await readFile(auditOf(), 'utf8');
    await writeFile(auditOf(), text.slice(0, -1));
    expect((await mended()).kinds).toEqual(['appended']);
    expect(await readFile(auditOf(), 'utf8')).toBe(text);
  });

  it('says what it lacks, and goes on', async () => {
    await fill();
    await createFileStore({ folder }).save(settledOf(second), 2);
    const text = await readFile(auditOf(), 'utf8');
    const one = text.slice(0, text.indexOf('\n') + 1);
    for (const [left, lost] of [
      [one, 1],
      ['', 2],
    ] as const) {
      await writeFile(auditOf(), left);
      const { store, stored } = await mended();
      expect(store.warnings.join()).toMatch(`the audit lacks ${lost} lines`);
      expect(stored).toMatchObject({ keyring: { audit: { count: 2 } } });
      expect(await verifyAudit(folder)).toMatchObject({ problem: 'cut_off', line: 3 - lost });
    }
    await rm(auditOf());
    const { store } = await mended();
    expect(store.warnings.join()).toMatch('the audit lacks 2 lines');
    await store.save(withLines(second, ['three']), 3);
    expect(await verifyAudit(folder)).toMatchObject({ ok: false, problem: 'removed', line: 1 });
  });

  it('says that its last line was changed', async () => {
    await fill();
    const text = await readFile(auditOf(), 'utf8');
    await writeFile(auditOf(), text.replace('"two"', '"too"'));
    const { store } = await mended();
    expect(store.warnings.join()).toMatch(/last line was changed/);
  });

  it('is longer than a keyring that was put back: nothing is thrown away', async () => {
    await fill();
    await cp(`${path}.bak`, path);
    const { store, stored, kinds } = await mended();
    expect(kinds).toEqual(['adopted']);
    expect(stored).toStrictEqual({
      version: 1,
      keyring: { ...settledOf(first), audit: settledOf(second).audit },
    });
    const next = withLines(stored?.keyring ?? first, ['put back']);
    await store.save(next, 1);
    expect(await verifyAudit(folder)).toEqual({ ok: true, count: 3 });
  });

  it('has lines that somebody else wrote: they are not taken for ours', async () => {
    await fill();
    const text = await readFile(auditOf(), 'utf8');
    await writeFile(auditOf(), `${text}{"seq":3,"prev":"forged"}\n`);
    const { store, stored, kinds } = await mended();
    expect(kinds).toEqual([]);
    expect(store.warnings.join()).toMatch(/did not write/);
    expect(stored).toMatchObject({ keyring: { audit: { count: 2 } } });
    expect(await verifyAudit(folder)).toMatchObject({ problem: 'added', line: 3 });
  });
});

describe('who used what', () => {
  it('is none where it is damaged, with a word', async () => {
    const usage = new Map([['master-1', { lastAt: 1, count: 1, callers: [] }]]);
    await createFileStore({ folder }).saveUsage(usage);
    const file = join(folder, 'usage.json');
    const text = await readFile(file, 'utf8');
    for (const bad of ['', '{', text.replace('"count":1', '"count":2'), text.slice(9)]) {
      await writeFile(file, bad);
      const store = createFileStore({ folder });
      expect(await store.loadUsage()).toEqual(new Map());
      expect(store.warnings.join()).toMatch(/usage.json is damaged/);
    }
    await writeFile(file, text);
    expect(await createFileStore({ folder }).loadUsage()).toEqual(usage);
  });

  it('is saved or refused, and a full disk says so', async () => {
    const store = createFileStore({ folder: join(folder, 'gone') });
    await expect(store.saveUsage(new Map())).rejects.toMatchObject({ kind: 'unavailable' });
  });
});

const mountSmall = (at: string): boolean =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', at]).status === 0;

/** Only root may mount; elsewhere the same is injected (file-store.test.ts). */
function canMount(): boolean {
  const at = mkdtempSync(join(tmpdir(), 'small-'));
  const can = mountSmall(at);
  if (can) spawnSync('umount', [at]);
  rmdirSync(at);
  return can;
}

describe.runIf(canMount())('a disk that is really full', () => {
  it('refuses the save, keeps what was, and takes the next one when there is room', async () => {
    expect(mountSmall(folder)).toBe(true);
    try {
      const store = createFileStore({ folder });
      await store.save(first, 0);
      const filler = join(folder, 'filler');
      await writeFile(filler, Buffer.alloc(64 * 1024)).catch(() => undefined);
      await expect(store.save(second, 1)).rejects.toMatchObject({
        kind: 'unavailable',
        hint: expect.stringContaining('free some space'),
      });
      await expect(store.saveUsage(new Map())).rejects.toMatchObject({ kind: 'unavailable' });
      expect(await load()).toMatchObject({ version: 1 });
      await rm(filler);
      expect(await store.save(second, 1)).toBe(2);
      expect(await verifyAudit(folder)).toEqual({ ok: true, count: 2 });
    } finally {
      spawnSync('umount', [folder]);
    }
  });
});
