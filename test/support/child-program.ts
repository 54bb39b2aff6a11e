import { rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Makes a program for Node of a TypeScript file of the tests that runs as a process of its own, and
 * of what it imports from src. It lies beside node_modules, where it finds its packages, until the
 * tests of this file are over.
 *
 * @returns its path
 */
export async function childProgram(source: URL): Promise<string> {
  const file = fileURLToPath(source);
  const name = `${process.pid}-${basename(file, '.ts')}.mjs`;
  const outfile = join(ROOT, 'node_modules/.cache/run-ts', name);
  await build({
    ...{ absWorkingDir: ROOT, entryPoints: [file], outfile, bundle: true, packages: 'external' },
    ...{ platform: 'node', format: 'esm', target: 'node20', sourcemap: 'inline' },
    logLevel: 'warning',
  });
  process.once('exit', () => rmSync(outfile, { force: true }));
  return outfile;
}
