/**
 * The sidecar killed at random moments while keys rotate, and what its next start makes of it. A
 * ledger holds what a client of the API may rely on, written down as it is told: which keys were
 * handed out, which have ended, which deadlines were printed. It never asks what is right.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GenerationView } from '../../src/rotation/admin.ts';
import { type Admin, bodyOf, createAdmin, present } from '../harness/admin.ts';
import { progress, say, stop } from '../harness/processes.ts';
import type { RunningSidecar } from '../harness/sidecar.ts';

/** The moment of a kill, after the rotations began; milliseconds. */
const LEAST_MS = 20;
const MOST_MS = 900;

/** Graces that end at once, or outlast the bench: so it is known of each key whether it works. */
const GRACES = ['0', '1h'] as const;

/** Keys that must not work, of those that are tried after a start: all would take too long. */
const ENDED_TRIED = 40;

export interface KillFigures {
  /** Answered. */
  rotations: number;
  revoked: number;
  /** Rotations whose answer never came, and those of them whose key stood in the key file. */
  cutOff: number;
  completed: number;
  /** Keys that had to work and keys that had not to, tried. */
  working: number;
  refused: number;
  readonly violations: string[];
}

interface Entry {
  readonly id: string;
  readonly key: string;
  /** `unsure`: a call whose answer never came may have ended it. */
  state: 'works' | 'ended' | 'unsure';
  /** As it was printed first, once its clock ran. */
  deadline?: string | null;
}

/** Which older keys end with a rotation: by its grace, and where it is told of a compromise. */
interface Rotation {
  readonly ends: 'none' | 'last' | 'all';
}

/** What was asked for and not answered. */
type UnderWay =
  | ({ readonly kind: 'rotate' } & Rotation)
  | { readonly kind: 'revoke'; readonly entry: Entry };

const any = (count: number): number => Math.floor(Math.random() * count);

const pick = <T>(row: readonly T[]): T | undefined => row[any(row.length)];

/** Compares what is printed of a key with what was told and printed before; what is wrong. */
function compare(entry: Entry, view: GenerationView): string | undefined {
  const { id, state, validUntil, clockStarted } = view;
  const isValid = state === 'active' || state === 'retiring';
  if (isValid && entry.state === 'ended') return `${id} had ended, and is ${state}`;
  if (!isValid) entry.state = 'ended';
  const { deadline } = entry;
  if (state !== 'retiring') return undefined;
  if (clockStarted) entry.deadline ??= validUntil;
  if (deadline === undefined || (clockStarted && deadline === validUntil)) return undefined;
  return `${id} was to end ${deadline}, and now ${validUntil}`;
}

function createLedger(firstKey: string, figures: KillFigures) {
  /** Oldest first. */
  const entries: Entry[] = [{ id: 'master-1', key: firstKey, state: 'works' }];
  const newest = (): Entry => entries.at(-1) as Entry;
  return {
    entries,
    newest,
    /** The older keys that the rotation ends are `then`. */
    handedOut(id: string, key: string, { ends }: Rotation, then: 'ended' | 'unsure'): void {
      const older = ends === 'all' ? entries : ends === 'last' ? [newest()] : [];
      for (const entry of older) if (entry.state !== 'ended') entry.state = then;
      entries.push({ id, key, state: 'works' });
    },
    printed(views: readonly GenerationView[]): void {
      for (const view of views) {
        const entry = entries.find(({ id }) => id === view.id);
        const wrong = entry && compare(entry, view);
        if (wrong !== undefined) figures.violations.push(wrong);
      }
    },
  };
}

type Ledger = ReturnType<typeof createLedger>;

/** One that rotates, revokes, uses and looks as fast as it is allowed, until the sidecar is gone. */
function createOperator(port: number, admin: Admin, ledger: Ledger, figures: KillFigures) {
  let underWay: UnderWay | undefined;

  const rotate = async (): Promise<'done' | 'full'> => {
    const [grace, compromised] = [pick(GRACES) ?? '0', any(40) === 0];
    const rotation: Rotation = { ends: compromised ? 'all' : grace === '0' ? 'last' : 'none' };
    underWay = { kind: 'rotate', ...rotation };
    const said = await admin.rotate({ grace, compromised, force: true });
    underWay = undefined;
    if (!said.ok && said.code === 'too_many_generations') return 'full';
    const { generation, key, previous } = bodyOf(said, 'a rotation');
    figures.rotations += 1;
    ledger.handedOut(generation.id, key ?? '', rotation, 'ended');
    ledger.printed(previous);
    return 'done';
  };
  const revoke = async (): Promise<void> => {
    const older = ledger.entries.slice(0, -1).filter(({ state }) => state !== 'ended');
    const entry = pick(older);
    if (entry === undefined) return;
    underWay = { kind: 'revoke', entry };
    const said = await admin.revoke(entry.id);
    underWay = undefined;
    if (said.ok) figures.revoked += 1;
    else if (said.code !== 'already_ended') bodyOf(said, `revoke ${entry.id}`);
    entry.state = 'ended';
  };
  const step = async (): Promise<void> => {
    if ((await rotate()) === 'full' || any(10) === 0) await revoke();
    if (any(10) === 0) ledger.printed(bodyOf(await admin.client(), 'a look').generations);
    if (any(3) > 0) return;
    const { id, key } = ledger.newest();
    const { status, refusal } = await present(port, key);
    if (status !== 200) figures.violations.push(`${id}, the newest, got ${status} ${refusal}`);
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

/** Notes what a killed process may have done unsaid. */
function takeStock(
  ledger: Ledger,
  underWay: UnderWay | undefined,
  keyFile: string,
  figures: KillFigures,
): void {
  if (underWay?.kind === 'revoke' && underWay.entry.state === 'works') {
    underWay.entry.state = 'unsure';
  }
  if (underWay?.kind !== 'rotate') return;
  figures.cutOff += 1;
  const published = readFileSync(keyFile, 'utf8').trim();
  const { id, key } = ledger.newest();
  if (published === key) return;
  // Whoever read the file has the key: it stands there before its rotation is complete.
  figures.completed += 1;
  const number = Number(id.slice(id.lastIndexOf('-') + 1));
  ledger.handedOut(`master-${number + 1}`, published, underWay, 'unsure');
}

/** Holds what the sidecar does and prints after a start against the ledger. */
async function inspect(port: number, admin: Admin, ledger: Ledger, figures: KillFigures) {
  ledger.printed(bodyOf(await admin.client(), 'a look').generations);
  const ended = ledger.entries.filter(({ state }) => state === 'ended');
  const sampled = Array.from({ length: ENDED_TRIED / 2 }, () => pick(ended));
  const tried = new Set([...ended.slice(-ENDED_TRIED / 2), ...sampled]);
  for (const entry of ledger.entries) {
    const { id, key, state } = entry;
    if (state === 'unsure' || (state === 'ended' && !tried.has(entry))) continue;
    const { status, refusal } = await present(port, key);
    figures[status === 200 ? 'working' : 'refused'] += 1;
    if ((status === 200) !== (state === 'works')) {
      figures.violations.push(`${id} ${state}, and got ${status} ${refusal}`);
    }
  }
  const audit = bodyOf(await admin.verifyAudit(), 'the audit');
  if (!audit.ok) figures.violations.push(`the audit: ${audit.message}`);
}

/** @param start a sidecar, with the state of the one before */
export async function measureKills(
  start: () => Promise<RunningSidecar>,
  key: string,
  kills: number,
): Promise<KillFigures> {
  const figures: KillFigures = {
    ...{ rotations: 0, revoked: 0, cutOff: 0, completed: 0 },
    ...{ working: 0, refused: 0, violations: [] },
  };
  const ledger = createLedger(key, figures);
  let sidecar = await start();
  for (let kill = 1; kill <= kills; kill += 1) {
    progress(`kill ${kill} of ${kills}`);
    const { child, keyFile } = sidecar;
    const admin = createAdmin(sidecar.adminSocket);
    const operator = createOperator(sidecar.port, admin, ledger, figures);
    let gone = false;
    const working = operator.work(() => gone);
    await Promise.race([sleep(LEAST_MS + any(MOST_MS - LEAST_MS)), working]);
    gone = true;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await Promise.all([ended, working]);
    admin.close();
    takeStock(ledger, operator.underWay(), keyFile, figures);

    sidecar = await start();
    const asker = createAdmin(sidecar.adminSocket);
    const before = figures.violations.length;
    await inspect(sidecar.port, asker, ledger, figures);
    asker.close();
    for (const violation of figures.violations.slice(before))
      say(`after kill ${kill}: ${violation}`);
  }
  await stop(sidecar.child);
  return figures;
}
