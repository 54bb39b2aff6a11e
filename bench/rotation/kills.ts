/**
 * The sidecar killed at random moments while keys rotate, and what its next start makes of it. A
 * ledger holds what a client of the API may rely on, written down as it is told: which keys were
 * handed out, which have ended, which deadlines were printed. It never asks what is right.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GenerationView } from '../../src/rotation/admin.ts';
import { type Admin, bodyOf, createAdmin } from '../harness/admin.ts';
import type { Measured } from '../harness/bench.ts';
import { ask } from '../harness/payloads.ts';
import { progress, say, stop } from '../harness/processes.ts';
import { figure, none } from '../harness/report.ts';
import type { RunningSidecar } from '../harness/sidecar.ts';

/** The moment of a kill, after the rotations began; milliseconds. */
const [LEAST_MS, MOST_MS] = [20, 900];

/** Graces that end at once, or outlast the bench: so it is known of each key whether it works. */
const GRACES = ['0', '1h'] as const;

/** Keys that must not work, of those that are tried after a start: all would take too long. */
const ENDED_TRIED = 40;

interface Entry {
  readonly id: string;
  readonly key: string;
  /** `unsure`: a call whose answer never came may have ended it. */
  state: 'works' | 'ended' | 'unsure';
  /** As it was printed first, once its clock ran. */
  deadline?: string | null;
}

/** A call that was not answered, and the keys that it ends. */
interface UnderWay {
  readonly kind: 'rotate' | 'revoke';
  readonly ends: readonly Entry[];
}

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

function createLedger(firstKey: string) {
  /** Oldest first. */
  const entries: Entry[] = [{ id: 'master-1', key: firstKey, state: 'works' }];
  const violations: string[] = [];
  return {
    entries,
    violations,
    newest: (): Entry => entries.at(-1) as Entry,
    /** Older keys that had not ended when they were asked for last. */
    lasting: () => entries.filter(({ state }) => state !== 'ended'),
    printed(views: readonly GenerationView[]): void {
      for (const view of views) {
        const entry = entries.find(({ id }) => id === view.id);
        const wrong = entry && compare(entry, view);
        if (wrong !== undefined) violations.push(wrong);
      }
    },
    /** What happened, for the sentence in the results. */
    counts: {
      ...{ rotations: 0, revoked: 0 },
      /** Rotations whose answer never came, and those of them whose key stood in the key file. */
      ...{ cutOff: 0, completed: 0 },
      /** Keys that worked and keys that did not, of those that were tried after a start. */
      ...{ working: 0, refused: 0 },
    },
  };
}

type Ledger = ReturnType<typeof createLedger>;

/** One that rotates, revokes, uses and looks as fast as it is allowed, until the sidecar is gone. */
function createOperator(port: number, admin: Admin, ledger: Ledger) {
  const { entries, counts } = ledger;
  let underWay: UnderWay | undefined;
  const call = async <T>(unanswered: UnderWay, asked: Promise<T>): Promise<T> => {
    underWay = unanswered;
    const said = await asked;
    underWay = undefined;
    return said;
  };

  const rotate = async (): Promise<'done' | 'full'> => {
    const [grace, compromised] = [pick(GRACES) ?? '0', any(40) === 0];
    const ends = compromised ? ledger.lasting() : grace === '0' ? [ledger.newest()] : [];
    const asked = admin.rotate({ grace, compromised, force: true });
    const said = await call({ kind: 'rotate', ends }, asked);
    if (!said.ok && said.code === 'too_many_generations') return 'full';
    const { generation, key, previous } = bodyOf(said, 'a rotation');
    counts.rotations += 1;
    for (const entry of ends) entry.state = 'ended';
    entries.push({ id: generation.id, key: key ?? '', state: 'works' });
    ledger.printed(previous);
    return 'done';
  };
  const revoke = async (): Promise<void> => {
    const entry = pick(ledger.lasting().filter((each) => each !== ledger.newest()));
    if (entry === undefined) return;
    const said = await call({ kind: 'revoke', ends: [entry] }, admin.revoke(entry.id));
    if (said.ok) counts.revoked += 1;
    else if (said.code !== 'already_ended') bodyOf(said, `revoke ${entry.id}`);
    entry.state = 'ended';
  };
  const step = async (): Promise<void> => {
    if ((await rotate()) === 'full' || any(10) === 0) await revoke();
    if (any(10) === 0) ledger.printed(bodyOf(await admin.client(), 'a look').generations);
    if (any(3) > 0) return;
    const { id, key } = ledger.newest();
    const { status, refusal } = await ask(port, { key });
    if (status !== 200) ledger.violations.push(`${id}, the newest, got ${status} ${refusal}`);
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
function takeStock(ledger: Ledger, { kind, ends }: UnderWay, keyFile: string): void {
  const { entries, counts } = ledger;
  if (kind === 'rotate') {
    counts.cutOff += 1;
    const key = readFileSync(keyFile, 'utf8').trim();
    const newest = ledger.newest();
    if (key === newest.key) return;
    // Whoever read the file has the key: it stands there before its rotation is complete.
    counts.completed += 1;
    const number = Number(newest.id.slice(newest.id.lastIndexOf('-') + 1));
    entries.push({ id: `master-${number + 1}`, key, state: 'works' });
  }
  for (const entry of ends) if (entry.state === 'works') entry.state = 'unsure';
}

/** Holds what the sidecar does and prints after a start against the ledger. */
async function inspect(port: number, admin: Admin, ledger: Ledger) {
  const { entries, counts, violations } = ledger;
  ledger.printed(bodyOf(await admin.client(), 'a look').generations);
  const ended = entries.filter(({ state }) => state === 'ended');
  const sampled = Array.from({ length: ENDED_TRIED / 2 }, () => pick(ended));
  const tried = new Set([...ended.slice(-ENDED_TRIED / 2), ...sampled]);
  for (const entry of entries) {
    const { id, key, state } = entry;
    if (state === 'unsure' || (state === 'ended' && !tried.has(entry))) continue;
    const { status, refusal } = await ask(port, { key });
    counts[status === 200 ? 'working' : 'refused'] += 1;
    if ((status === 200) !== (state === 'works')) {
      violations.push(`${id} ${state}, and got ${status} ${refusal}`);
    }
  }
  const audit = bodyOf(await admin.verifyAudit(), 'the audit');
  if (!audit.ok) violations.push(`the audit: ${audit.message}`);
}

/** @param start a sidecar, with the state of the one before */
export async function measureKills(
  start: () => Promise<RunningSidecar>,
  key: string,
  kills: number,
): Promise<Measured> {
  const ledger = createLedger(key);
  const { counts, violations } = ledger;
  let sidecar = await start();
  const admin = createAdmin(sidecar.adminSocket);
  for (let kill = 1; kill <= kills; kill += 1) {
    progress(`kill ${kill} of ${kills}`);
    const { child, keyFile } = sidecar;
    const operator = createOperator(sidecar.port, admin, ledger);
    let gone = false;
    const working = operator.work(() => gone);
    await Promise.race([sleep(LEAST_MS + any(MOST_MS - LEAST_MS)), working]);
    gone = true;
    await stop(child, 'SIGKILL');
    await working;
    const underWay = operator.underWay();
    if (underWay !== undefined) takeStock(ledger, underWay, keyFile);

    sidecar = await start();
    const before = violations.length;
    await inspect(sidecar.port, admin, ledger);
    for (const violation of violations.slice(before)) say(`after kill ${kill}: ${violation}`);
  }
  admin.close();
  await stop(sidecar.child);
  const what = 'after kills -9: keys lost or back, deadlines moved, audits broken';
  const sentence = `- Kills: ${kills} times -9 at a random moment of ${figure(counts.rotations)} rotations as fast as they go with a grace of 0 or an hour, and of ${figure(counts.revoked)} revocations; of the rotations that were cut off, ${counts.cutOff}, ${counts.completed} had shown their key and were completed at the next start. After the starts ${figure(counts.working)} keys worked and ${figure(counts.refused)} were refused; these and printed deadlines were compared with what had been said before, and the audit was verified.`;
  return { targets: [none(what, violations.length)], text: [sentence] };
}
