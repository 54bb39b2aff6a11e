/** One job at a time over IPC, between the bench and a process of its own. */
import { nextMessage } from './children.js';

/**
 * What asks a child, and rejects with what it failed with.
 * @param {import('node:child_process').ChildProcess} child
 */
export const asking = (child) => async (/** @type {object} */ job) => {
  const answered = nextMessage(child);
  child.send(job);
  const { result, failed } = await answered;
  if (failed !== undefined) throw new Error(failed);
  return result;
};

/**
 * In the child: answers each job with what it comes to, and ends with its parent.
 * @param {(job: any) => unknown} carryOut
 * @param {Record<string, (job: any) => void>} [told] by kind: what nobody waits for an answer to
 */
export function answerJobs(carryOut, told = {}) {
  process.on('message', async (/** @type {any} */ job) => {
    const hear = told[job.kind];
    if (hear !== undefined) return hear(job);
    try {
      process.send?.({ result: await carryOut(job) });
    } catch (error) {
      process.send?.({ failed: error instanceof Error ? error.message : String(error) });
    }
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({ ready: true });
}
