/** Who rotates in `npm run bench:rotation`, a process of its own: one row at a time over IPC. */
import { createAdmin } from './admin.js';
import { rotateInARow } from './row.js';

/** @param {any} job */
async function carryOut({ socket, ...job }) {
  const admin = createAdmin(socket);
  try {
    return await rotateInARow({ ...job, admin, onKey: (next) => void process.send?.(next) });
  } finally {
    admin.close();
  }
}

process.on('message', async (job) => {
  try {
    process.send?.({ result: await carryOut(job) });
  } catch (error) {
    process.send?.({ failed: error instanceof Error ? error.message : String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
process.send?.({ ready: true });
