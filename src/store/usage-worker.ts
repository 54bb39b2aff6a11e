import { parentPort, workerData } from 'node:worker_threads';
import { createUsageDatabase, type UsageDatabase, usageErrorOf } from './usage-database.ts';
import type { UsageQuestion, UsageReply } from './usage-thread.ts';

/** The program of the thread that `usage-thread.ts` starts: it answers one question at a time. */
const path = String(workerData);
let moved: string | undefined;
const database: UsageDatabase = createUsageDatabase({
  path,
  onMoved(where) {
    moved = where;
  },
});

parentPort?.on('message', (text: string) => {
  const { number, verb, args } = JSON.parse(text) as UsageQuestion;
  parentPort?.postMessage({ number, ...answerTo(verb, args), moved } satisfies UsageReply);
  moved = undefined;
});

function answerTo(verb: UsageQuestion['verb'], args: readonly unknown[]) {
  try {
    // The types are those of `ask`.
    return { result: (database[verb] as (...given: readonly unknown[]) => unknown)(...args) };
  } catch (error) {
    const { fault, message } = usageErrorOf(error, path);
    return { fault: { fault, message } };
  }
}
