/** Who rotates in `npm run bench:rotation`, a process of its own: one row at a time over IPC. */
import { answerJobs } from '../jobs.js';
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

answerJobs(carryOut);
