import { closeSync, existsSync, openSync, renameSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { USAGE_COLUMNS, USAGE_FIELDS, type UsageCounts } from './usage-columns.ts';

/** Whose requests were added up, and when. */
export interface UsagePlace {
  /** Its first second, in seconds since the epoch: a multiple of 3600. */
  readonly hour: number;
  /** '': nobody was recognised. */
  readonly client: string;
  /** '': LiteLLM named none, or was not asked. */
  readonly model: string;
  /** The id of a generation; '' where nobody was recognised. */
  readonly key: string;
  /** Whether that generation was its client's active one. */
  readonly active: boolean;
}

/** A row of `usage.db`, or what is to be added to one. */
export type UsageRow = UsagePlace & UsageCounts;

/** What the rows of a report stand for. */
export const USAGE_GROUPS = ['client', 'model', 'key', 'hour', 'day'] as const;

export interface UsageQuery {
  readonly by: (typeof USAGE_GROUPS)[number];
  /** Seconds since the epoch; the hour that it is in counts whole. */
  readonly from: number;
  readonly client?: string | undefined;
  readonly model?: string | undefined;
}

/** Rows added up: of one client, model, day, …; of a key apart for the time it was active. */
export interface UsageGroup extends UsageCounts {
  /** A name, or the first second of an hour or a day since the epoch. */
  readonly name: string | number;
  readonly active: boolean | undefined;
}

/** Why a usage store did nothing. */
export type UsageStoreFault =
  | 'busy'
  | 'damaged'
  | 'full'
  | 'readonly'
  /** Of a newer version, or not ours: it is left alone. */
  | 'foreign'
  /** There is no library for this platform. */
  | 'missing'
  | 'failed';

export class UsageStoreError extends Error {
  override readonly name = 'UsageStoreError';
  readonly fault: UsageStoreFault;

  constructor(fault: UsageStoreFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

/** The parts of libsql's interface that are used; it is that of better-sqlite3. */
interface Sql {
  exec(sql: string): void;
  prepare(sql: string): {
    run(...values: readonly unknown[]): unknown;
    get(...values: readonly unknown[]): unknown;
    all(...values: readonly unknown[]): unknown[];
  };
  close(): void;
}

const BUSY_MS = 5000;
/** As `PRAGMA user_version` of the file. */
const FORMAT = 1;

const KEY_COLUMNS = 'hour, client, model, key, active';
const COUNT_COLUMNS = Object.values(USAGE_COLUMNS).join(', ');

/** docs/usage.md explains it to those who read the file beside us. */
const SCHEMA = `
CREATE TABLE usage (
  hour INTEGER NOT NULL, client TEXT NOT NULL, model TEXT NOT NULL, key TEXT NOT NULL,
  active INTEGER NOT NULL,
  ${Object.values(USAGE_COLUMNS)
    .map((name) => `${name} ${name === 'cost_usd' ? 'REAL' : 'INTEGER'} NOT NULL`)
    .join(', ')},
  PRIMARY KEY (${KEY_COLUMNS})
) STRICT, WITHOUT ROWID;
CREATE TABLE last_write (
  one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, at INTEGER NOT NULL
) STRICT;
PRAGMA user_version = ${FORMAT};`;

const PLACES = 5;
const UPSERT = `
INSERT INTO usage (${KEY_COLUMNS}, ${COUNT_COLUMNS})
VALUES (${Array(PLACES + USAGE_FIELDS.length)
  .fill('?')
  .join(', ')})
ON CONFLICT DO UPDATE SET ${Object.values(USAGE_COLUMNS)
  .map((name) => `${name} = ${name} + excluded.${name}`)
  .join(', ')}`;

const SUMS = Object.entries(USAGE_COLUMNS)
  .map(([field, column]) => `sum(${column}) AS ${field}`)
  .join(', ');
const NAME_OF: Readonly<Record<UsageQuery['by'], string>> = {
  client: 'client',
  model: 'model',
  key: 'key',
  hour: 'hour',
  day: 'hour - hour % 86400',
};

/** A batch of rows to add. The same `id` again: it is not added a second time. */
export interface UsageWrite {
  readonly id: string;
  /** Seconds since the epoch. */
  readonly at: number;
  readonly rows: readonly UsageRow[];
}

/** What is in the file, as of one instant. */
export interface StoredUsage {
  readonly groups: readonly UsageGroup[];
  /** The batch that was added last; null: none so far. */
  readonly lastWrite: { readonly id: string; readonly at: number } | null;
}

export type UsageDatabase = ReturnType<typeof createUsageDatabase>;

interface UsageDatabaseOptions {
  readonly path: string;
  /** A reader beside the sidecar: it makes nothing, mends nothing and changes nothing. */
  readonly isReader?: boolean;
  /** Milliseconds: how long a lock of somebody else's is waited for. */
  readonly busyMs?: number;
  /** Told where a damaged file was moved to, before a new one is begun. */
  readonly onMoved?: (where: string) => void;
}

/**
 * The totals by hour in a file of SQLite's. All of it waits for the disk, so the sidecar runs it in
 * a thread of its own. The file has a rollback journal and no WAL: between two writes it is one
 * file, which may be copied, and read from a read-only mount; and no memory is shared with readers,
 * where a truncated file would be a SIGBUS. Each verb throws `UsageStoreError`, and has done
 * nothing then.
 */
export function createUsageDatabase(options: UsageDatabaseOptions) {
  let open: { readonly sql: Sql; readonly inode: number } | undefined;
  const close = (): void => {
    open?.sql.close();
    open = undefined;
  };
  const opened = (): Sql => {
    // Whoever deletes or replaces the file does not expect that the old one is written on.
    if (open !== undefined && open.inode !== inodeOf(options.path)) close();
    open ??= openFile(options);
    return open.sql;
  };
  /** A damaged file is moved away once, and a new one begun. */
  const attempt = <T>(work: (sql: Sql) => T): T => {
    const wasOpen = open !== undefined;
    try {
      return work(opened());
    } catch (error) {
      close();
      const failure = usageErrorOf(error, options.path);
      // A file that was opened for reading alone may be writable by now.
      const isStale = failure.fault === 'readonly' && wasOpen;
      if (!isStale && (failure.fault !== 'damaged' || options.isReader)) throw failure;
      if (!isStale) options.onMoved?.(moveAway(options.path));
    }
    try {
      return work(opened());
    } catch (error) {
      close();
      throw usageErrorOf(error, options.path);
    }
  };
  return {
    write: (batch: UsageWrite): void => attempt((sql) => write(sql, batch)),
    read: (query: UsageQuery): StoredUsage => attempt((sql) => read(sql, query)),
    /** Rows behind that one, in the order of their places, so many at most. */
    page: (after: UsagePlace | undefined, limit: number): readonly UsageRow[] =>
      attempt((sql) => page(sql, after, limit)),
    /** Removes the hours that began before that second; returns how many rows that were. */
    prune: (before: number): number => attempt((sql) => prune(sql, before)),
    close,
  };
}

function write(sql: Sql, { id, at, rows }: UsageWrite): void {
  inTransaction(sql, 'IMMEDIATE', () => {
    if (lastWriteOf(sql)?.id === id) return;
    const add = sql.prepare(UPSERT);
    for (const { hour, client, model, key, active, ...counts } of rows) {
      const numbers = USAGE_FIELDS.map((field) => counts[field]);
      add.run(hour, client, model, key, active ? 1 : 0, ...numbers);
    }
    sql
      .prepare('INSERT OR REPLACE INTO last_write (one, id, at) VALUES (1, ?, ?)')
      .run(id, Math.floor(at));
  });
}

function read(sql: Sql, { by, from, client, model }: UsageQuery): StoredUsage {
  const active = by === 'key' ? 'active' : 'NULL';
  const filters = [
    { sql: 'hour >= ?', value: hourOf(from) },
    ...(client === undefined ? [] : [{ sql: 'client = ?', value: client }]),
    ...(model === undefined ? [] : [{ sql: 'model = ?', value: model }]),
  ];
  const question = `SELECT ${NAME_OF[by]} AS name, ${active} AS active, ${SUMS} FROM usage
    WHERE ${filters.map((each) => each.sql).join(' AND ')} GROUP BY 1, 2`;
  return inTransaction(sql, 'DEFERRED', () => {
    const found = sql.prepare(question).all(...filters.map(({ value }) => value));
    const groups = found.map((row) => {
      const { active, ...rest } = row as UsageCounts & { name: string; active: number | null };
      return { ...rest, active: active === null ? undefined : active === 1 };
    });
    return { groups, lastWrite: lastWriteOf(sql) ?? null };
  });
}

function page(sql: Sql, after: UsagePlace | undefined, limit: number): readonly UsageRow[] {
  const columns = Object.entries(USAGE_COLUMNS).map(([field, column]) => `${column} AS ${field}`);
  const behind = after === undefined ? '' : `WHERE (${KEY_COLUMNS}) > (?, ?, ?, ?, ?)`;
  const place =
    after === undefined
      ? []
      : [after.hour, after.client, after.model, after.key, after.active ? 1 : 0];
  const question = `SELECT ${KEY_COLUMNS}, ${columns.join(', ')} FROM usage ${behind}
    ORDER BY ${KEY_COLUMNS} LIMIT ?`;
  return sql
    .prepare(question)
    .all(...place, limit)
    .map((row) => {
      const found = row as Omit<UsageRow, 'active'> & { active: number };
      return { ...found, active: found.active === 1 };
    });
}

function prune(sql: Sql, before: number): number {
  return inTransaction(sql, 'IMMEDIATE', () => {
    const { old } = sql
      .prepare('SELECT count(*) AS old FROM usage WHERE hour < ?')
      .get(hourOf(before)) as { old: number };
    if (old > 0) sql.prepare('DELETE FROM usage WHERE hour < ?').run(hourOf(before));
    return old;
  });
}

/** The first second of the hour that a second is in. */
export const hourOf = (seconds: number): number => Math.floor(seconds / 3600) * 3600;

const lastWriteOf = (sql: Sql): { id: string; at: number } | undefined => {
  const row = sql.prepare('SELECT id, at FROM last_write').get() as
    | { id: string; at: number }
    | undefined;
  return row && { id: row.id, at: row.at };
};

function inTransaction<T>(sql: Sql, mode: 'IMMEDIATE' | 'DEFERRED', work: () => T): T {
  sql.exec(`BEGIN ${mode}`);
  try {
    const result = work();
    sql.exec('COMMIT');
    return result;
  } catch (error) {
    // SQLite rolls back by itself where the disk is full or fails; then there is nothing to do.
    try {
      sql.exec('ROLLBACK');
    } catch {}
    throw error;
  }
}

const inodeOf = (path: string): number | undefined =>
  statSync(path, { throwIfNoEntry: false })?.ino;

/** @throws an error of libsql's, or `UsageStoreError` */
function openFile({ path, isReader = false, busyMs = BUSY_MS }: UsageDatabaseOptions) {
  const Database = library();
  // A file that is just being begun is empty.
  if (isReader && (statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) {
    throw new UsageStoreError('failed', `there is no ${path}: nothing was written so far`);
  }
  // SQLite itself would make it readable for others.
  if (!isReader && !existsSync(path)) closeSync(openSync(path, 'a', 0o600));
  const sql = new Database(path, { timeout: busyMs });
  try {
    checkFormat(sql, path, isReader);
  } catch (error) {
    sql.close();
    throw error;
  }
  return { sql, inode: inodeOf(path) ?? 0 };
}

function checkFormat(sql: Sql, path: string, isReader: boolean): void {
  if (isReader) sql.exec('PRAGMA query_only = 1');
  // In the image there is no other folder that can be written.
  sql.exec('PRAGMA temp_store = MEMORY');
  const pragma = (name: string): unknown =>
    Reflect.get(sql.prepare(`PRAGMA ${name}`).get() as object, name);
  const { tables } = sql.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as {
    tables: number;
  };
  const format = Number(pragma('user_version'));
  if (format === 0 && tables === 0 && !isReader) {
    inTransaction(sql, 'IMMEDIATE', () => sql.exec(SCHEMA));
    return;
  }
  if (format !== FORMAT) {
    const whose = format > FORMAT ? 'of a newer sidecar' : 'no usage database of the sidecar';
    throw new UsageStoreError('foreign', `${path} is ${whose}: it is left alone`);
  }
  // A damaged page is else found only when it is read, which may be months later.
  if (!isReader && pragma('quick_check') !== 'ok') {
    throw new UsageStoreError('damaged', `${path} is damaged`);
  }
}

/** Loaded here and not by an import: there are platforms without it, and those serve, too. */
function library(): new (path: string, options: { timeout: number }) => Sql {
  try {
    return createRequire(import.meta.url)('libsql');
  } catch {
    throw new UsageStoreError('missing', 'the package libsql is not installed beside the sidecar');
  }
}

const MOST_DAMAGED = 9;

/** Returns where it is now; the last of so many places is used again. */
function moveAway(path: string): string {
  const names = Array.from({ length: MOST_DAMAGED }, (_, at) => `${path}.damaged-${at + 1}`);
  const to = names.find((name) => !existsSync(name)) ?? `${path}.damaged-${MOST_DAMAGED}`;
  renameSync(path, to);
  return to;
}

const FAULTS: readonly (readonly [RegExp, UsageStoreFault, string])[] = [
  [/^SQLITE_(?:BUSY|LOCKED)/, 'busy', 'is locked by another program'],
  [/^SQLITE_(?:CORRUPT|NOTADB)/, 'damaged', 'is damaged'],
  [/^(?:SQLITE_FULL|ENOSPC|EDQUOT)/, 'full', 'cannot be written: the disk is full'],
  [/^(?:SQLITE_READONLY|EROFS|EACCES|EPERM)/, 'readonly', 'cannot be written: it is read-only'],
];

/** What an error of libsql's or of Node's fs means. */
export function usageErrorOf(error: unknown, path: string): UsageStoreError {
  if (error instanceof UsageStoreError) return error;
  const { code, message } = error as { readonly code?: unknown; readonly message: string };
  const [, fault, words] = FAULTS.find(([pattern]) => pattern.test(String(code))) ?? [];
  if (fault !== undefined) return new UsageStoreError(fault, `${path} ${words}`);
  // libsql says so without a code, and in words of Rust.
  const why = /^ConnectionFailed/.test(message) ? 'it cannot be opened' : String(code ?? message);
  return new UsageStoreError('failed', `${path} cannot be used: ${why}`);
}
