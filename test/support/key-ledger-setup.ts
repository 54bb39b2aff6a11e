/**
 * Runs before each test file: keys that this process makes or is given go into the run's ledger,
 * and so do the refusals that `fetch` brings.
 */
import { afterAll, vi } from 'vitest';
import { flushLedger, recordArtefact, recordKey } from './key-ledger.ts';

vi.mock('../../src/keyring/key.ts', async (importOriginal) => {
  const original = await importOriginal<typeof import('../../src/keyring/key.ts')>();
  return {
    ...original,
    generateKey() {
      const key = original.generateKey();
      recordKey(key);
      return key;
    },
  };
});

vi.mock('../../src/secret.ts', async (importOriginal) => {
  const original = await importOriginal<typeof import('../../src/secret.ts')>();
  return {
    Secret: class Secret extends original.Secret {
      constructor(value: string) {
        super(value);
        // Declared ones, tokens, what a file held; words that tests use as secrets are left out.
        if (/^[!-~]{16,}$/.test(value) && new Set(value).size > 7) recordKey(value);
      }
    },
  };
});

const fetchPlainly = globalThis.fetch;
globalThis.fetch = async (...args) => {
  const answer = await fetchPlainly(...args);
  if (answer.headers.has('x-sidecar-refusal')) {
    recordArtefact('error body', answer.url, await answer.clone().text());
  }
  return answer;
};

// Registered first, so it runs last.
afterAll(flushLedger);
