import { fileURLToPath } from 'node:url';

/**
 * All that stands in `dist/main.js`, `dist/cli.js` and `dist/local.js`: each starts its program in
 * `dist/parts`. Where a part is missing, an import at the top of the program itself would end the
 * process with a stack before any line of ours.
 */

/** The program, from this file; the build puts it here. */
declare const PROGRAM: string;

try {
  await import(PROGRAM);
} catch (error) {
  const { code, url } = error as { readonly code?: unknown; readonly url: string };
  // Whatever is imported is bundled, so a file that is not found is one of these parts.
  if (code !== 'ERR_MODULE_NOT_FOUND') throw error;
  process.stderr.write(
    `sidecar: ${fileURLToPath(url)} is missing: copy all of dist, or make it with npm run build\n`,
  );
  process.exitCode = 1;
}
