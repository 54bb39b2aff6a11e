/** A bench's life: a folder of its own, processes of its own, and an end that leaves neither. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopAll } from './children.js';

export const say = (/** @type {string} */ text) => process.stderr.write(`${text}\n`);

export const reason = (/** @type {unknown} */ error) =>
  error instanceof Error ? error.message : String(error);

/**
 * Runs `main`, and ends what it started: also after Ctrl-C, and where it throws, which is said.
 * @param {(folder: string) => Promise<void>} main
 * @param {() => void | Promise<void>} [endOthers] ends what `children.js` knows nothing of
 */
export async function runInFolder(main, endOthers = () => undefined) {
  const folder = mkdtempSync(join(tmpdir(), 'sidecar-bench-'));
  const clean = async () => {
    const stopped = stopAll();
    await endOthers();
    await stopped;
    // Whoever was killed a moment ago may have written last.
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  let interrupted = false;
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    process.once(signal, async () => {
      interrupted = true;
      await clean();
      process.exit(130);
    });
  }
  try {
    await main(folder);
  } catch (error) {
    if (!interrupted) say(reason(error));
    process.exitCode = 1;
  } finally {
    await clean();
  }
}
