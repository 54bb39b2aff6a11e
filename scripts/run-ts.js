// Runs a TypeScript program of scripts/, bench/ or test/, which may import from src/:
//   node scripts/run-ts.js bench/request.ts --help
// Node 20 cannot run TypeScript by itself. Packages are not bundled, so all find the same ones.
import { rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [program, ...rest] = process.argv.slice(2);
if (program === undefined) {
  process.stderr.write('usage: node scripts/run-ts.js <program.ts> [arguments]\n');
  process.exit(64);
}
// A file of its own for each process: two that start at once must not read what the other writes.
const outfile = join(
  root,
  `node_modules/.cache/run-ts/${process.pid}-${basename(program, '.ts')}.mjs`,
);
await build({
  absWorkingDir: root,
  entryPoints: [resolve(program)],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  sourcemap: 'inline',
  logLevel: 'warning',
});
process.once('exit', () => rmSync(outfile, { force: true }));
process.argv.splice(1, process.argv.length - 1, resolve(program), ...rest);
await import(pathToFileURL(outfile).href);
