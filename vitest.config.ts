import { defineConfig } from 'vitest/config';

/** One project a kind of test, so that `npm test` needs Node alone and the rest is opted into. */
const project = (name: string, include: readonly string[], seconds: number) => ({
  test: {
    name,
    include: [...include],
    environment: 'node' as const,
    testTimeout: seconds * 1000,
    hookTimeout: seconds * 1000,
    restoreMocks: true,
    // Every key that a test makes goes into a ledger,
    setupFiles: ['test/support/key-ledger-setup.ts'],
  },
});

const ONE_BY_ONE = { fileParallelism: false } as const;

export default defineConfig({
  test: {
    // and at the end of the run none of them may stand in a log, or in any other place it must not be.
    globalSetup: ['test/support/key-ledger-run.ts'],
    // A run that is ended before that search is over would pass.
    teardownTimeout: 120_000,
    // Most of a run is waiting: for processes that start, clocks, disks. By default two cores have
    // one worker, with which that takes 5 minutes; with four it takes 2.
    maxWorkers: 4,
    projects: [
      {
        test: {
          ...project('unit', ['test/**/*.test.ts'], 10).test,
          exclude: ['test/{e2e,process,monitoring,real,compose,console}/**', 'node_modules/**'],
        },
      },
      project('e2e', ['test/e2e/**/*.test.ts'], 30),
      // A disk that others write to takes seconds for an fsync.
      project('process', ['test/process/**/*.test.ts'], 60),
      // Half a minute; on a machine that does other things too, longer.
      project('monitoring', ['test/monitoring/**/*.test.ts'], 120),
      // Most files of these have a LiteLLM of their own, which is all that a small machine can start at
      // a time.
      { test: { ...project('litellm', ['test/real/**/*.test.ts'], 180).test, ...ONE_BY_ONE } },
      { test: { ...project('console', ['test/console/**/*.test.ts'], 180).test, ...ONE_BY_ONE } },
      { test: { ...project('compose', ['test/compose/**/*.test.ts'], 300).test, ...ONE_BY_ONE } },
    ],
  },
});
