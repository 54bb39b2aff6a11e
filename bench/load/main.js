/** The load generator, a process of its own: one job at a time over IPC. */
import { answerJobs } from '../jobs.js';
import { runJson } from './json.js';
import { runSse } from './sse.js';
import { createStreams } from './streams.js';

const streams = createStreams();

/** @type {Record<string, (job: any) => unknown>} */
const JOBS = {
  json: runJson,
  sse: runSse,
  'streams-open': streams.open,
  'streams-watch': streams.watch,
  'streams-close': streams.close,
};

answerJobs((job) => JOBS[job.kind]?.(job));
