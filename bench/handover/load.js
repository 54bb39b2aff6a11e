/** The clients of `npm run bench:handover`, a process of its own: one job at a time over IPC. */

import { setTimeout as sleep } from 'node:timers/promises';
import { answerJobs } from '../jobs.js';
import { createClosedLoop } from './closed-loop.js';
import { runStreams } from './streams.js';

/** @typedef {Awaited<ReturnType<typeof createClosedLoop>>} ClosedLoop */

/** @type {ClosedLoop | undefined} */
let loop;

const running = () => {
  if (loop === undefined) throw new Error('the closed loop has not begun');
  return loop;
};

/** @type {Record<string, (job: any) => Promise<unknown>>} */
const JOBS = {
  /** @param {{port: number, key: string, clients: number, warmMs: number}} job */
  async begin({ warmMs, ...job }) {
    loop = await createClosedLoop(job);
    await sleep(warmMs);
    loop.begin();
  },
  async streams(job) {
    const streams = await runStreams(job);
    return { streams, seen: running().seen() };
  },
  end: ({ spans }) => running().end(spans),
};

answerJobs((job) => JOBS[job.kind]?.(job));
