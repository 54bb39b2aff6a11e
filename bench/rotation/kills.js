/** The process killed at random moments while keys rotate, and what the next start makes of it. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdmin } from './admin.js';
import { createLedger, verdictOn } from './ledger.js';
import { present } from './presented.js';
import { createSidecar } from './sidecar.js';

/** The moment of a kill, after the rotations began. */
const LEAST_MS = 20;
const MOST_MS = 900;

/** Short ones end between two kills, long ones outlast several. */
const GRACES_MS = [0, 100, 400, 1500, 5000, 20_000, 3_600_000];

/** Keys that should not work, of those that are tried after a start: all would take too long. */
const ENDED_TRIED = 40;

/**
 * @typedef {object} KillFigures
 * @property {number} kills
 * @property {number} rotations answered
 * @property {number} cutOff rotations whose answer never came
 * @property {number} completed of those, the ones whose key stood in the key file
 * @property {number} revoked keys, answered
 * @property {number} working keys that had to work, tried
 * @property {number} refused keys that had not to work, tried
 * @property {number} deadlines printed ones that were compared
 * @property {readonly string[]} violations
 * @property {readonly number[]} readyMs of each start
 */

const any = (/** @type {number} */ count) => Math.floor(Math.random() * count);

/** @param {{port: number, admin: import('./admin.js').Admin,
 *   ledger: import('./ledger.js').Ledger, violations: string[]}} given */
function createOperator({ port, admin, ledger, violations }) {
  const counts = { rotations: 0, revoked: 0 };
  /** What was asked for and not answered. */
  /** @type {{kind: 'rotate', graceMs: number, compromised: boolean} | {kind: 'revoke', id: string}
   *   | undefined} */
  let underWay;
  const tell = (/** @type {import('./admin.js').GenerationView[]} */ views) =>
    violations.push(...ledger.printed(views));

  const rotate = async () => {
    const graceMs = GRACES_MS[any(GRACES_MS.length)] ?? 0;
    const compromised = any(40) === 0;
    underWay = { kind: 'rotate', graceMs, compromised };
    const { status, body } = await admin.rotate({
      grace: `${graceMs}ms`,
      compromised,
      force: true,
    });
    underWay = undefined;
    if (status === 409 && body.code === 'too_many_generations') return 'full';
    if (status !== 200) throw new Error(`a rotation: ${status} ${body.code} ${body.detail}`);
    counts.rotations += 1;
    ledger.handedOut({ id: body.generation.id, key: body.key, graceMs, compromised });
    tell(body.previous);
    return 'done';
  };
  const revoke = async () => {
    const older = ledger.entries().filter((entry) => verdictOn(entry) !== 'must not work');
    const { id } = older[any(older.length - 1)] ?? ledger.newest();
    if (id === ledger.newest().id) return;
    underWay = { kind: 'revoke', id };
    const { status, body } = await admin.revoke(id);
    underWay = undefined;
    if (status === 409 && body.code === 'already_ended') ledger.ended(id);
    else if (status !== 200) throw new Error(`revoke ${id}: ${status} ${body.code}`);
    if (status !== 200) return;
    counts.revoked += 1;
    ledger.revoked(id);
  };
  const use = async () => {
    const { id, key } = ledger.newest();
    ledger.used(id);
    const { status, refusal } = await present(port, key);
    if (status !== 200) violations.push(`${id}, the newest, got ${status} ${refusal}`);
  };

  const step = async () => {
    if ((await rotate()) === 'full' || any(10) === 0) await revoke();
    if (any(3) === 0) await use();
    if (any(10) === 0) tell((await admin.client()).body.generations);
  };

  return {
    counts,
    /** What a killed process was doing. */
    underWay: () => underWay,
    /** As fast as it is allowed, until the process is gone. @param {() => boolean} gone */
    async work(gone) {
      try {
        while (!gone()) await step();
      } catch (error) {
        if (!gone()) throw error;
      }
    },
  };
}

/** The newest key as a client would read it. @param {string} keyFile */
const published = async (keyFile) => (await readFile(keyFile, 'utf8')).trim();

/**
 * What a process that was killed may have done without saying so.
 * @param {import('./ledger.js').Ledger} ledger
 * @param {ReturnType<ReturnType<typeof createOperator>['underWay']>} underWay
 * @param {string} key the published one
 * @returns whether the rotation under way had shown its key
 */
function takeStock(ledger, underWay, key) {
  if (underWay?.kind === 'revoke') ledger.maybeEnded(underWay.id);
  if (underWay?.kind !== 'rotate') return false;
  const { id, key: newest, number } = ledger.newest();
  const { graceMs, compromised } = underWay;
  if (key === newest) return false;
  // Whoever read the file has it: it stands there before its rotation is complete.
  if (compromised) ledger.maybeEnded(undefined);
  else if (graceMs === 0) ledger.maybeEnded(id);
  ledger.handedOut({ id: `master-${number + 1}`, key, graceMs, compromised: false });
  return true;
}

/** @param {{port: number, admin: import('./admin.js').Admin,
 *   ledger: import('./ledger.js').Ledger}} given */
async function inspect({ port, admin, ledger }) {
  const { generations } = (await admin.client()).body;
  const deadlines = ledger.entries().filter(({ deadline }) => deadline !== undefined);
  const seen = new Set(generations.map((/** @type {{id: string}} */ { id }) => id));
  const violations = ledger.printed(generations);
  const compared = deadlines.filter(({ id }) => seen.has(id)).length;
  let working = 0;
  let refused = 0;
  const now = Date.now();
  const ended = ledger.entries().filter((entry) => verdictOn(entry, now) === 'must not work');
  const tried = new Set([...ended.slice(-ENDED_TRIED / 2), ...sampled(ended, ENDED_TRIED / 2)]);
  for (const entry of ledger.entries()) {
    const verdict = verdictOn(entry);
    if (verdict === 'either' || (verdict === 'must not work' && !tried.has(entry))) continue;
    if (verdict === 'must work') ledger.used(entry.id);
    const { status, refusal } = await present(port, entry.key);
    const works = status === 200;
    if (works) working += 1;
    else refused += 1;
    if (works !== (verdict === 'must work')) {
      violations.push(`${entry.id} ${verdict}, and got ${status} ${refusal ?? ''}`);
    }
  }
  const audit = (await admin.verify()).body;
  if (audit.ok !== true) violations.push(`the audit: ${audit.message}`);
  return { violations, compared, working, refused };
}

/** @template T @param {readonly T[]} row @param {number} count */
const sampled = (row, count) =>
  row.length === 0 ? [] : Array.from({ length: count }, () => row[any(row.length)]);

/**
 * @param {import('../stage.js').Stage} stage
 * @param {number} kills
 * @param {{key: string, say: (text: string) => void}} given
 * @returns {Promise<KillFigures>}
 */
export async function measureKills(stage, kills, { key, say }) {
  // Ended keys are tried by the dozen; the limit on wrong ones would answer in their place.
  const sidecar = createSidecar({ env: { SIDECAR_FAILURES_PER_MINUTE: '0' } });
  let running = await stage.start(sidecar.peer);
  const { port } = running;
  const ledger = createLedger(key);
  const figures = {
    ...{ kills, rotations: 0, cutOff: 0, completed: 0, revoked: 0 },
    ...{ working: 0, refused: 0, deadlines: 0 },
    violations: /** @type {string[]} */ ([]),
    readyMs: /** @type {number[]} */ ([]),
  };
  for (let kill = 1; kill <= kills; kill += 1) {
    const { violations } = figures;
    const admin = createAdmin(sidecar.socket());
    const operator = createOperator({ port, admin, ledger, violations });
    const { child } = running;
    let gone = false;
    const ended = new Promise((resolve) => child?.once('exit', resolve));
    const working = operator.work(() => gone);
    await Promise.race([sleep(LEAST_MS + any(MOST_MS - LEAST_MS)), working]);
    gone = true;
    child?.kill('SIGKILL');
    await Promise.all([ended, working]);
    admin.close();
    figures.rotations += operator.counts.rotations;
    figures.revoked += operator.counts.revoked;
    const underWay = operator.underWay();
    if (underWay?.kind === 'rotate') figures.cutOff += 1;
    if (takeStock(ledger, underWay, await published(sidecar.keyFile()))) figures.completed += 1;

    const again = await sidecar.startAgain(port);
    running = { ...running, child: again.child };
    figures.readyMs.push(again.readyMs ?? Number.NaN);
    const asker = createAdmin(sidecar.socket());
    const found = await inspect({ port, admin: asker, ledger });
    asker.close();
    figures.working += found.working;
    figures.refused += found.refused;
    figures.deadlines += found.compared;
    violations.push(...found.violations);
    for (const violation of found.violations) say(`after kill ${kill}: ${violation}`);
  }
  await stage.stop(running);
  return figures;
}
