/** Rotations in a row, at a pace. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long to wait where the oldest of eight valid keys has not ended yet, in milliseconds. */
const FULL_WAIT_MS = 10;

/**
 * @param {{admin: import('./admin.js').Admin, keyFile: string, rotations: number, paceMs: number,
 *   graceMs: number, keysBefore: number, onKey: (next: {key: string, number: number}) => void}} given
 * @returns what was handed out, oldest first, and how long each call took, in milliseconds
 * @throws {Error} where a rotation fails, or its key is not in the key file
 */
export async function rotateInARow({
  admin,
  keyFile,
  rotations,
  paceMs,
  graceMs,
  keysBefore,
  onKey,
}) {
  /** @type {number[]} */
  const durations = [];
  /** @type {string[]} */
  const keys = [];
  let waits = 0;
  const startedAt = performance.now();
  for (let done = 0; done < rotations; done += 1) {
    const askedAt = performance.now();
    const { status, body } = await admin.rotate({ grace: `${graceMs}ms` });
    if (status === 409 && body.code === 'too_many_generations') {
      waits += 1;
      done -= 1;
      await sleep(FULL_WAIT_MS);
      continue;
    }
    if (status !== 200) throw new Error(`rotation ${done + 1}: ${status} ${body.code}`);
    durations.push(performance.now() - askedAt);
    keys.push(body.key);
    onKey({ key: body.key, number: keysBefore + keys.length });
    const published = (await readFile(keyFile, 'utf8')).trim();
    if (published !== body.key) throw new Error(`rotation ${done + 1}: another key is published`);
    await sleep(Math.max(0, askedAt + paceMs - performance.now()));
  }
  return { keys, waits, durations, seconds: (performance.now() - startedAt) / 1000 };
}
