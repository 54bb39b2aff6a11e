// Bundles src/ and console/ into dist/, with the packages that they import: npm run build.
//   dist/main.js, cli.js, local.js  what is started: it looks for its program in dist/parts
//   dist/parts/                     the programs, and what they load when it is wanted; libsql is a
//                                   native library, and stays in node_modules
//   dist/console/                   the page of the ops port: index.html, or no-token.html where no
//                                   token is set, and what they name, by its digest; each file also
//                                   with .gz and .br
//   dist/THIRD-PARTY-LICENSES.txt   the licence of each package of which something is in there
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PROGRAMS = { main: 'src/main.ts', cli: 'src/cli.ts', local: 'src/local/main.ts' };

/** Bytes of gzip, all files of the page together. */
const MOST_OF_PAGE = 100_000;

const options = /** @type {const} */ ({
  absWorkingDir: ROOT,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  // For --enable-source-maps. Nothing is minified, so that a stack in the log can be read without:
  // that would take 2 ms off a start of 128, and 1 to 2 MB of 71.
  sourcemap: true,
  sourcesContent: false,
  legalComments: 'none',
  logLevel: 'warning',
});

rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
const { metafile } = await build({
  ...options,
  entryPoints: { ...PROGRAMS, 'usage-worker': 'src/store/usage-worker.ts' },
  outdir: 'dist/parts',
  splitting: true,
  metafile: true,
  // Packages in CommonJS ask for modules of Node by `require`, which an ES module does not have.
  banner: {
    js: `import{createRequire as requireFrom}from'node:module';const require=requireFrom(import.meta.url);`,
  },
});
for (const name of Object.keys(PROGRAMS)) {
  await build({
    ...options,
    entryPoints: { [name]: 'src/entry.ts' },
    outdir: 'dist',
    sourcemap: false,
    define: { PROGRAM: JSON.stringify(`./parts/${name}.js`) },
    external: ['./parts/*'],
    ...(name === 'cli' && { banner: { js: '#!/usr/bin/env node' } }),
  });
}
// So that all of dist can be copied without the package.json above it.
writeFileSync(join(ROOT, 'dist/package.json'), '{ "type": "module" }\n');
const page = await buildPage();
const folders = [...new Set([...packagesIn(metafile), ...packagesIn(page)])].sort();
writeFileSync(join(ROOT, 'dist/THIRD-PARTY-LICENSES.txt'), folders.map(licenceOf).join('\n'));

/** Bundles the page, and compresses all of it; throws where it became too large. */
async function buildPage() {
  const sources = { 'main.js': 'main.tsx', 'style.css': 'style.css', 'icon.svg': 'icon.svg' };
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: Object.values(sources).map((name) => `console/${name}`),
    outdir: 'dist/console',
    entryNames: '[name]-[hash]',
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    loader: { '.svg': 'copy' },
    legalComments: 'none',
    logLevel: 'warning',
    metafile: true,
  });
  const outputs = Object.entries(metafile.outputs);
  /** @param {string} source */
  const madeOf = (source) => {
    const found = outputs.find(([, { inputs }]) => `console/${source}` in inputs);
    if (found === undefined) throw new Error(`nothing was made of console/${source}`);
    return `console/${basename(found[0])}`;
  };
  for (const name of ['index.html', 'no-token.html']) {
    let html = readFileSync(join(ROOT, 'console', name), 'utf8');
    for (const [named, source] of Object.entries(sources)) {
      html = html.replaceAll(`="${named}"`, `="${madeOf(source)}"`);
    }
    writeFileSync(join(ROOT, 'dist/console', name), html);
  }
  compressPage(join(ROOT, 'dist/console'));
  return metafile;
}

/**
 * So that a phone on a bad line opens the page in a second; what it is measured by is gzip.
 * @param {string} folder
 */
function compressPage(folder) {
  let sum = 0;
  for (const name of readdirSync(folder)) {
    const bytes = readFileSync(join(folder, name));
    const gzip = gzipSync(bytes, { level: 9 });
    writeFileSync(join(folder, `${name}.gz`), gzip);
    writeFileSync(join(folder, `${name}.br`), brotliCompressSync(bytes));
    sum += gzip.length;
  }
  if (sum > MOST_OF_PAGE) throw new Error(`the page has ${sum} bytes of gzip: too many`);
}

/**
 * The folders of the packages of which a line is in the output, sorted.
 * @param {import('esbuild').Metafile} made
 */
function packagesIn({ outputs }) {
  const files = Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs));
  const found = files.flatMap(
    (file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? [],
  );
  return [...new Set(found)].sort();
}

/**
 * @param {string} folder
 * @throws where a package has no licence text, which its licence wants handed on
 */
function licenceOf(folder) {
  const at = join(ROOT, folder);
  const { name, version, license } = JSON.parse(readFileSync(join(at, 'package.json'), 'utf8'));
  const files = readdirSync(at).filter((file) => /^(?:licen[cs]e|copying|notice)\b/i.test(file));
  if (!files.some((file) => !/^notice/i.test(file))) {
    throw new Error(`${folder} is bundled and has no file with its licence`);
  }
  const texts = files.sort().map((file) => readFileSync(join(at, file), 'utf8').trim());
  return [`${'='.repeat(80)}\n${name} ${version} (${license})\n`, ...texts, ''].join('\n');
}
