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
  },
});

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...project('unit', ['test/**/*.test.ts'], 10).test,
          exclude: ['test/{e2e,process,litellm,compose}/**', 'node_modules/**'],
        },
      },
      project('e2e', ['test/e2e/**/*.test.ts'], 30),
      project('process', ['test/process/**/*.test.ts'], 30),
      project('litellm', ['test/litellm/**/*.test.ts'], 180),
      project('compose', ['test/compose/**/*.test.ts'], 300),
    ],
  },
});
