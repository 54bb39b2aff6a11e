/**
 * The sidecar killed at random moments while keys rotate, and what its next start makes of it. A
 * ledger holds what a client of the API may rely on, written down as it is told: which keys were
 * handed out, which were revoked, which deadlines were printed. It never asks what is right.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GenerationView } from '../../src/rotation/admin.ts';
import { progress, say, stop } from '../harness/processes.ts';
import type { RunningSidecar } from '../harness/sidecar.ts';
import { type Admin, bodyOf, createAdmin, present } from './admin.ts';

/** The moment of a kill, after the rotations began; milliseconds. */
const LEAST_MS = 20;
const MOST_MS = 900;

/** Short ones end between two kills, long ones outlast several. */
const GRACES_MS = [0, 100, 400, 1500, 5000, 20_000, 3_600_000];

/** Keys that should not work, of those that are tried after a start: all would take too long. */
const ENDED_TRIED = 40;

/** Instants this near to an end are left alone: two clocks are read, and requests take time. */
const MARGIN_MS = 300;

export interface KillFigures {
  readonly kills: number;
  /** Answered. */
  rotations: number;
  revoked: number;
  /** Rotations whose answer never came, and those of them whose key stood in the key file. */
  cutOff: number;
  completed: number;
  /** Keys that had to work and keys that had not to, tried. */
  working: number;
  refused: number;
  /** Printed deadlines that were compared. */
  deadlines: number;
  readonly violations: string[];
}

/** A key of the ledger; instants in milliseconds since the epoch. */
interface Entry {
  readonly id: string;
  readonly key: string;
  readonly number: number;
  /** It was answered or printed that the key has ended. */
  ended: boolean;
  /** A call whose answer never came may have ended it. */
  unsure: boolean;
  /** Of the rotation that replaced it. */
  graceMs?: number;
  /** The earliest instant at which a later key may have been used first. */
  laterUseAt?: number;
  /** As it was printed. */
  deadline?: number;
}

const any = (count: number): number => Math.floor(Math.random() * count);

const pick = <T>(row: readonly T[]): T | undefined => row[any(row.length)];

/** The earliest instant at which a key may have ended. */
function leastEnd({ deadline, laterUseAt, graceMs }: Entry): number {
  if (deadline !== undefined) return deadline;
  if (graceMs === 0) return Number.NEGATIVE_INFINITY;
  // A key that was not replaced has no end, and no clock starts before a later key is used.
  if (graceMs === undefined || laterUseAt === undefined) return Number.POSITIVE_INFINITY;
  return laterUseAt + graceMs;
}

function verdictOn(entry: Entry, now = Date.now()): 'must work' | 'must not work' | 'either' {
  const { deadline, unsure, ended } = entry;
  if (ended || (deadline !== undefined && now >= deadline + MARGIN_MS)) return 'must not work';
  return !unsure && now < leastEnd(entry) - MARGIN_MS ? 'must work' : 'either';
}

/** Compares what is printed of a key with what was printed before; what has moved. */
function compare(entry: Entry, view: GenerationView): string[] {
  const { id, state, validUntil, clockStarted } = view;
  const isValid = state === 'active' || state === 'retiring';
  if (isValid && entry.ended) return [`${id} had ended, and is ${state}`];
  entry.ended ||= !isValid;
  if (state === 'revoked') return [];
  const before = entry.deadline;
  // A key that ends with its rotation has no clock.
  if (validUntil === null || !clockStarted) {
    return before === undefined || !isValid ? [] : [`the clock of ${id} stands still`];
  }
  const deadline = Date.parse(validUntil);
  entry.deadline = deadline;
  if (before === undefined) {
    const shortMs = (entry.laterUseAt ?? 0) + (entry.graceMs ?? 0) - deadline;
    return shortMs > MARGIN_MS ? [`the grace of ${id} is ${shortMs} ms short`] : [];
  }
  return before === deadline ? [] : [`the deadline of ${id} moved by ${deadline - before} ms`];
}

function createLedger(firstKey: string) {
  /** Oldest first: each key that is handed out is newer than those before it. */
  const entries: Entry[] = [];
  const add = (id: string, key: string): void => {
    const number = Number(id.slice(id.lastIndexOf('-') + 1));
    entries.push({ id, key, number, ended: false, unsure: false });
  };
  add('master-1', firstKey);
  const newest = (): Entry => entries.at(-1) as Entry;
  return {
    entries,
    newest,
    handedOut(id: string, key: string, graceMs: number, compromised: boolean): void {
      newest().graceMs ??= graceMs;
      if (compromised) for (const entry of entries) entry.ended = true;
      add(id, key);
    },
    /** A request with this key is about to be sent: older keys' clocks may start. */
    used({ number }: Entry): void {
      for (const entry of entries) if (entry.number < number) entry.laterUseAt ??= Date.now();
    },
    printed: (views: readonly GenerationView[]): string[] =>
      views.flatMap((view) => {
        const entry = entries.find(({ id }) => id === view.id);
        return entry === undefined ? [] : compare(entry, view);
      }),
  };
}

type Ledger = ReturnType<typeof createLedger>;

/** What was asked for and not answered. */
type UnderWay =
  | { readonly kind: 'rotate'; readonly graceMs: number; readonly compromised: boolean }
  | { readonly kind: 'revoke'; readonly entry: Entry };

/** One that rotates, revokes, uses and looks as fast as it is allowed, until `isGone`. */
function createOperator(port: number, admin: Admin, ledger: Ledger, figures: KillFigures) {
  let underWay: UnderWay | undefined;
  const tell = (views: readonly GenerationView[]) =>
    figures.violations.push(...ledger.printed(views));

  const rotate = async (): Promise<'done' | 'full'> => {
    const graceMs = pick(GRACES_MS) ?? 0;
    const compromised = any(40) === 0;
    underWay = { kind: 'rotate', graceMs, compromised };
    const said = await admin.rotate({ grace: `${graceMs}ms`, compromised, force: true });
    underWay = undefined;
    if (!said.ok && said.code === 'too_many_generations') return 'full';
    const { generation, key, previous } = bodyOf(said, 'a rotation');
    figures.rotations += 1;
    ledger.handedOut(generation.id, key ?? '', graceMs, compromised);
    tell(previous);
    return 'done';
  };
  const revoke = async (): Promise<void> => {
    const older = ledger.entries.slice(0, -1);
    const entry = pick(older.filter((each) => verdictOn(each) !== 'must not work'));
    if (entry === undefined) return;
    underWay = { kind: 'revoke', entry };
    const said = await admin.revoke(entry.id);
    underWay = undefined;
    if (said.ok) figures.revoked += 1;
    else if (said.code !== 'already_ended') bodyOf(said, `revoke ${entry.id}`);
    entry.ended = true;
  };
  const use = async (): Promise<void> => {
    const newest = ledger.newest();
    ledger.used(newest);
    const { status, refusal } = await present(port, newest.key);
    if (status !== 200)
      figures.violations.push(`${newest.id}, the newest, got ${status} ${refusal}`);
  };
  const step = async (): Promise<void> => {
    if ((await rotate()) === 'full' || any(10) === 0) await revoke();
    if (any(3) === 0) await use();
    if (any(10) === 0) tell(bodyOf(await admin.client(), 'a look').generations);
  };
  return {
    underWay: () => underWay,
    async work(isGone: () => boolean): Promise<void> {
      try {
        while (!isGone()) await step();
      } catch (error) {
        if (!isGone()) throw error;
      }
    },
  };
}

/** Notes what a killed process may have done unsaid; whether its rotation had shown its key. */
function takeStock(ledger: Ledger, underWay: UnderWay | undefined, published: string): boolean {
  if (underWay?.kind === 'revoke') underWay.entry.unsure = true;
  if (underWay?.kind !== 'rotate') return false;
  const newest = ledger.newest();
  const { graceMs, compromised } = underWay;
  if (published === newest.key) return false;
  // Whoever read the file has the key: it stands there before its rotation is complete.
  if (compromised) for (const entry of ledger.entries) entry.unsure = true;
  else if (graceMs === 0) newest.unsure = true;
  ledger.handedOut(`master-${newest.number + 1}`, published, graceMs, false);
  return true;
}

/** Holds what the sidecar does and prints after a start against the ledger. */
async function inspect(port: number, admin: Admin, ledger: Ledger, figures: KillFigures) {
  const violations: string[] = [];
  const { generations } = bodyOf(await admin.client(), 'a look');
  const printed = new Set(generations.map(({ id }) => id));
  const compared = ledger.entries.filter((each) => each.deadline !== undefined);
  figures.deadlines += compared.filter(({ id }) => printed.has(id)).length;
  violations.push(...ledger.printed(generations));

  const ended = ledger.entries.filter((entry) => verdictOn(entry) === 'must not work');
  const sampled = Array.from({ length: ENDED_TRIED / 2 }, () => pick(ended));
  const tried = new Set([...ended.slice(-ENDED_TRIED / 2), ...sampled]);
  for (const entry of ledger.entries) {
    const verdict = verdictOn(entry);
    if (verdict === 'either' || (verdict === 'must not work' && !tried.has(entry))) continue;
    if (verdict === 'must work') ledger.used(entry);
    const { status, refusal = '' } = await present(port, entry.key);
    figures[status === 200 ? 'working' : 'refused'] += 1;
    if ((status === 200) !== (verdict === 'must work')) {
      violations.push(`${entry.id} ${verdict}, and got ${status} ${refusal}`);
    }
  }
  const audit = bodyOf(await admin.verifyAudit(), 'the audit');
  if (!audit.ok) violations.push(`the audit: ${audit.message}`);
  return violations;
}

/** @param start a sidecar, with the state of the one before */
export async function measureKills(
  start: () => Promise<RunningSidecar>,
  key: string,
  kills: number,
): Promise<KillFigures> {
  const ledger = createLedger(key);
  const figures: KillFigures = {
    ...{ kills, rotations: 0, revoked: 0, cutOff: 0, completed: 0 },
    ...{ working: 0, refused: 0, deadlines: 0, violations: [] },
  };
  let { child, port, socket, keyFile } = await start();
  for (let kill = 1; kill <= kills; kill += 1) {
    progress(`kill ${kill} of ${kills}`);
    const admin = createAdmin(socket);
    const operator = createOperator(port, admin, ledger, figures);
    let gone = false;
    const working = operator.work(() => gone);
    await Promise.race([sleep(LEAST_MS + any(MOST_MS - LEAST_MS)), working]);
    gone = true;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await Promise.all([ended, working]);
    admin.close();
    const underWay = operator.underWay();
    if (underWay?.kind === 'rotate') figures.cutOff += 1;
    if (takeStock(ledger, underWay, readFileSync(keyFile, 'utf8').trim())) figures.completed += 1;

    ({ child, port, socket, keyFile } = await start());
    const asker = createAdmin(socket);
    const violations = await inspect(port, asker, ledger, figures);
    asker.close();
    figures.violations.push(...violations);
    for (const violation of violations) say(`after kill ${kill}: ${violation}`);
  }
  await stop(child);
  return figures;
}
