/** The load of `npm run bench:rotation`, a process of its own: one job at a time over IPC. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdmin } from './admin.js';
import { createHolders } from './holders.js';
import { openLiveStreams } from './live-streams.js';
import { createPacedLoad } from './paced.js';
import { rotateInARow } from './row.js';

/**
 * @typedef {object} Job
 * @property {number} port
 * @property {string} socket
 * @property {string} keyFile
 * @property {string} key the newest one
 * @property {number} connections
 * @property {number} streams
 * @property {number} perSecond
 * @property {number} rotations 0: none, for `steadyMs`
 * @property {number} steadyMs
 * @property {number} paceMs
 * @property {number} graceMs
 */

/** The share of a grace in which clients move; the rest is for what is on its way meanwhile. */
const MOVING = 0.75;

/** @param {Job} job */
async function run({ port, socket, keyFile, key, connections, streams, perSecond, ...rest }) {
  const { rotations, steadyMs, paceMs, graceMs } = rest;
  /** @type {string[]} */
  const faults = [];
  const { holders, heard, moves } = createHolders({
    ...{ count: connections, key, keyFile, withinMs: graceMs * MOVING },
    onFault: (what) => faults.push(what),
  });
  const live = await openLiveStreams({ port, key, count: streams });
  const paced = await createPacedLoad({ port, perSecond, holders });
  const admin = createAdmin(socket);
  try {
    await sleep(1000);
    paced.begin();
    const row = { admin, keyFile, rotations, paceMs, graceMs, onKey: heard };
    const rotated = rotations === 0 ? undefined : await rotateInARow(row);
    await sleep(rotations === 0 ? steadyMs : graceMs * 2);
    const loaded = await paced.stop();
    if (faults.length > 0) throw new Error(faults[0]);
    return { ...loaded, rotated, moves: moves(), streams: live.close() };
  } finally {
    admin.close();
  }
}

process.on('message', async (/** @type {Job} */ job) => {
  try {
    process.send?.({ result: await run(job) });
  } catch (error) {
    process.send?.({ failed: error instanceof Error ? error.message : String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
process.send?.({ ready: true });
