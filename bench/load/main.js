/** The load generator, a process of its own: one job at a time over IPC. */
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

process.on('message', async (/** @type {any} */ job) => {
  try {
    process.send?.({ result: await JOBS[job.kind]?.(job) });
  } catch (error) {
    process.send?.({ failed: error instanceof Error ? error.message : String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port: 0 });
