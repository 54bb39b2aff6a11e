import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import {
  createUsageDatabase,
  type UsageDatabase,
  type UsageQuery,
  type UsageRow,
  usageErrorOf,
} from '../../src/store/usage-database.ts';
import { HOUR, usageRow } from '../usage/rows.ts';

const Sql = createRequire(import.meta.url)('libsql');

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sidecar-usage-'));
  path = join(folder, 'usage.db');
});
afterEach(() => rmSync(folder, { recursive: true }));

function open(options: { isReader?: boolean } = {}) {
  const moved: string[] = [];
  const database = createUsageDatabase({
    ...{ path, busyMs: 20, onMoved: (where: string) => moved.push(where) },
    ...options,
  });
  onTestFinished(database.close);
  return Object.assign(database, { moved });
}

let nth = 0;
const write = (database: UsageDatabase, ...rows: readonly UsageRow[]): void => {
  nth += 1;
  database.write({ id: `batch-${nth}`, at: HOUR, rows });
};
const ALL: UsageQuery = { by: 'client', from: 0 };
const requestsIn = (database: UsageDatabase, query = ALL): number =>
  database.read(query).groups.reduce((sum, { requests }) => sum + requests, 0);

/** Another program that has the file open. */
function other(sql: string) {
  const connection = new Sql(path);
  onTestFinished(() => connection.close());
  connection.exec(sql);
  return connection;
}

describe('usage.db', () => {
  it('adds to what is there, a row for each hour, client, model, key and state of the key', () => {
    const database = open();
    const rows = [
      usageRow(),
      usageRow({ hour: HOUR + 3600, costUsd: 1 / 3 }),
      usageRow({ client: '', key: '', model: '', active: false, metered: 0, refusals: 1 }),
      usageRow({ active: false }),
    ];
    write(database, ...rows);
    write(database, ...rows);
    const doubled = rows.map((row) => ({
      ...row,
      ...{ requests: 2, refusals: row.refusals * 2, metered: row.metered * 2 },
      ...{ input: 20, output: 40, costUsd: row.costUsd * 2 },
    }));
    const found = open().page(undefined, 10);
    expect(found).toHaveLength(4);
    expect(found).toEqual(expect.arrayContaining(doubled));
  });

  it('counts a batch that is sent twice once, and the next one too', () => {
    const database = open();
    const batch = { id: 'one', at: HOUR, rows: [usageRow()] };
    database.write(batch);
    database.write(batch);
    expect(database.read(ALL).lastWrite).toEqual({ id: 'one', at: HOUR });
    open().write(batch);
    database.write({ ...batch, id: 'two' });
    expect(requestsIn(database)).toBe(2);
  });

  it.each([
    [
      'client',
      [
        ['ci', undefined, 3],
        ['master', undefined, 1],
      ],
    ],
    [
      'model',
      [
        ['gpt-4o', undefined, 3],
        ['mock', undefined, 1],
      ],
    ],
    [
      'key',
      [
        ['ci-1', false, 1],
        ['ci-1', true, 2],
        ['master-1', true, 1],
      ],
    ],
    [
      'hour',
      [
        [HOUR, undefined, 3],
        [HOUR + 13 * 3600, undefined, 1],
      ],
    ],
    [
      'day',
      [
        [HOUR - 14 * 3600, undefined, 3],
        [HOUR + 10 * 3600, undefined, 1],
      ],
    ],
  ] as const)('adds up by %s', (by, wanted) => {
    const database = open();
    const later = { hour: HOUR + 13 * 3600 };
    const ofMaster = { client: 'master', key: 'master-1', model: 'mock' };
    write(database, usageRow(), usageRow(later), usageRow({ active: false }), usageRow(ofMaster));
    const { groups } = database.read({ by, from: HOUR });
    expect(groups.map(({ name, active, requests }) => [name, active, requests])).toEqual(wanted);
  });

  it('reads from an hour on, of one client and one model', () => {
    const database = open();
    write(database, usageRow(), usageRow({ client: "o'ne" }), usageRow({ model: 'mock' }));
    expect(requestsIn(database, { by: 'day', from: HOUR + 3599 })).toBe(3);
    expect(requestsIn(database, { by: 'day', from: HOUR + 3600 })).toBe(0);
    expect(requestsIn(database, { ...ALL, client: "o'ne" })).toBe(1);
    expect(requestsIn(database, { ...ALL, client: 'ci', model: 'mock' })).toBe(1);
  });

  it('is read page by page', () => {
    const database = open();
    const rows = Array.from({ length: 25 }, (_, at) => usageRow({ model: `m-${at + 10}` }));
    write(database, ...rows);
    const first = database.page(undefined, 10);
    const second = database.page(first.at(-1), 10);
    expect([...first, ...second, ...database.page(second.at(-1), 10)]).toEqual(rows);
  });

  it('forgets hours that are too old', () => {
    const database = open();
    write(database, usageRow({ hour: HOUR - 7200 }), usageRow({ hour: HOUR - 3600 }), usageRow());
    expect(database.prune(HOUR - 1)).toBe(1);
    expect(database.page(undefined, 9).map(({ hour }) => hour)).toEqual([HOUR - 3600, HOUR]);
    expect(database.prune(HOUR - 1)).toBe(0);
  });

  it('is for its user alone, and one file between two writes', () => {
    const database = open();
    write(database, usageRow());
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['usage.db']);
  });

  it('is what sqlite3 reads beside us', () => {
    const database = open();
    write(database, usageRow());
    const question = "SELECT datetime(hour, 'unixepoch'), client, cost_usd FROM usage";
    const connection = other('SELECT 1');
    expect(connection.prepare(question).all()).toEqual([
      { "datetime(hour, 'unixepoch')": '2026-11-29 14:00:00', client: 'ci', cost_usd: 0.001 },
    ]);
    write(database, usageRow());
    expect(connection.prepare('SELECT requests FROM usage').all()).toEqual([{ requests: 2 }]);
  });
});

describe('usage.db that fails', () => {
  it('locked is told as busy, and nothing of the batch is in it', () => {
    const database = open();
    write(database, usageRow());
    const connection = other('BEGIN EXCLUSIVE');
    expect(() => write(database, usageRow())).toThrow(/locked by another program/);
    connection.exec('ROLLBACK');
    expect(requestsIn(database)).toBe(1);
    write(database, usageRow());
    expect(requestsIn(database)).toBe(2);
  });

  it('is written while somebody reads', () => {
    const database = open();
    write(database, usageRow());
    const connection = other('BEGIN');
    connection.prepare('SELECT * FROM usage').all();
    expect(() => write(database, usageRow())).toThrow(/locked/);
    connection.exec('COMMIT');
    write(database, usageRow());
    expect(requestsIn(database)).toBe(2);
  });

  const damage: readonly (readonly [string, (path: string) => void])[] = [
    ['overwritten', (file) => writeFileSync(file, 'no database at all '.repeat(500))],
    ['cut', (file) => truncateSync(file, 6000)],
    [
      'damaged in its middle',
      (file) => {
        const bytes = readFileSync(file);
        writeFileSync(file, bytes.fill(7, 4096, bytes.length));
      },
    ],
  ];
  it('damaged where nobody writes is found at a start, and not months later', () => {
    const rows = Array.from({ length: 2000 }, (_, at) => usageRow({ model: `model-${at}` }));
    write(open(), ...rows);
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill(7, 20 * 4096, 21 * 4096));
    const database = open();
    write(database, usageRow({ client: 'zoe' }));
    expect(database.moved).toEqual([`${path}.damaged-1`]);
    expect(requestsIn(database)).toBe(1);
  });

  it.each(damage)('%s is moved away at a start, and a new one begun', (_, spoil) => {
    write(open(), usageRow());
    spoil(path);
    const spoiled = readFileSync(path);
    const database = open();
    write(database, usageRow(), usageRow({ model: 'mock' }));
    expect(database.moved).toEqual([`${path}.damaged-1`]);
    expect(readFileSync(`${path}.damaged-1`)).toEqual(spoiled);
    expect(requestsIn(open())).toBe(2);
  });

  it('damaged again is moved to a place of its own', () => {
    for (let at = 1; at <= 11; at += 1) {
      writeFileSync(path, 'no database '.repeat(500));
      const database = open();
      write(database, usageRow());
      expect(database.moved).toEqual([`${path}.damaged-${Math.min(at, 9)}`]);
      rmSync(path);
    }
  });

  it.each([
    ['of a newer sidecar', 'PRAGMA user_version = 2'],
    ['no usage database', 'PRAGMA user_version = 0; CREATE TABLE theirs (a)'],
  ])('%s is left alone', (words, sql) => {
    write(open(), usageRow());
    other(sql).close();
    const bytes = readFileSync(path);
    const database = open();
    for (let times = 0; times < 2; times += 1) {
      expect(() => write(database, usageRow())).toThrow(words);
      expect(() => database.read(ALL)).toThrow(words);
    }
    expect(readFileSync(path)).toEqual(bytes);
    expect(readdirSync(folder)).toEqual(['usage.db']);
  });

  it('deleted while it is open is begun anew', () => {
    const database = open();
    write(database, usageRow());
    rmSync(path);
    expect(requestsIn(database)).toBe(0);
    write(database, usageRow({ model: 'mock' }));
    expect(open().page(undefined, 9)).toEqual([usageRow({ model: 'mock' })]);
  });

  it('replaced while it is open is the one that is there now', () => {
    const database = open();
    write(database, usageRow());
    renameSync(path, `${path}.before`);
    execFileSync('cp', [`${path}.before`, path]);
    write(database, usageRow());
    expect(requestsIn(open())).toBe(2);
  });

  it('in a place where there can be none says so, and works once there can', () => {
    mkdirSync(path);
    const database = open();
    expect(() => write(database, usageRow())).toThrow(/cannot be used: it cannot be opened/);
    rmSync(path, { recursive: true });
    write(database, usageRow());
    expect(requestsIn(database)).toBe(1);
  });

  it.each([
    ['SQLITE_BUSY', 'busy'],
    ['SQLITE_CORRUPT', 'damaged'],
    ['SQLITE_FULL', 'full'],
    ['ENOSPC', 'full'],
    ['SQLITE_READONLY_DBMOVED', 'readonly'],
    ['EROFS', 'readonly'],
    ['SQLITE_IOERR_WRITE', 'failed'],
    [undefined, 'failed'],
  ])('with %s is %s', (code, fault) => {
    expect(usageErrorOf(Object.assign(new Error('why'), { code }), path).fault).toBe(fault);
  });
});

describe('a reader beside the sidecar', () => {
  it('changes nothing, and makes nothing', () => {
    expect(() => open({ isReader: true }).read(ALL)).toThrow(/nothing was written so far/);
    expect(readdirSync(folder)).toEqual([]);
    write(open(), usageRow());
    chmodSync(path, 0o400);
    const reader = open({ isReader: true });
    expect(requestsIn(reader)).toBe(1);
    expect(() => write(reader, usageRow())).toThrow(/read-only/);
  });

  it('leaves a damaged file where it is', () => {
    writeFileSync(path, 'no database '.repeat(500));
    expect(() => open({ isReader: true }).read(ALL)).toThrow(/is damaged/);
    expect(readdirSync(folder)).toEqual(['usage.db']);
  });
});
