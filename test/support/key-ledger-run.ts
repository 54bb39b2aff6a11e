import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestProject } from 'vitest/node';
import {
  type Artefact,
  describeFind,
  type Find,
  findKeys,
  KINDS,
  type MadeKey,
} from './key-search.ts';

/**
 * What a whole run of a project brings at least, about half of what it does bring: with less,
 * somebody unplugged the search.
 */
const LEAST: Readonly<Record<string, Partial<Record<Artefact['kind'] | 'key', number>>>> = {
  unit: { key: 5000 },
  e2e: { key: 400, log: 150, metrics: 150, 'error body': 150, audit: 150, keyring: 250, usage: 50 },
  process: { key: 30, log: 15, audit: 40, keyring: 80, usage: 3 },
  litellm: { key: 3, log: 1, metrics: 1, 'error body': 10, audit: 1, keyring: 1 },
  console: { key: 25, log: 10, metrics: 8, 'error body': 10, audit: 10, keyring: 20, usage: 4 },
  compose: { key: 10, log: 2, metrics: 1, 'error body': 15, audit: 2, keyring: 3, usage: 1 },
};

/** Makes the run's ledger; the end of the run searches it, and fails where a key got out. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-keys-'));
  project.provide('keyLedger', folder);
  return async () => {
    try {
      const mistakes = await search(folder, await wholeProjects(project));
      if (mistakes.length === 0) return;
      // vitest prints what a teardown throws, and ends with 0 all the same.
      process.exitCode = 1;
      console.error(`\n${mistakes.join('\n')}`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

/** The projects of which every test ran: only then is it known how much there must be. */
async function wholeProjects({ vitest }: TestProject): Promise<string[]> {
  if (vitest.config.testNamePattern !== undefined) return [];
  const ran = new Set(vitest.state.getTestModules().map(({ moduleId }) => moduleId));
  const whole: string[] = [];
  for (const project of vitest.projects) {
    const { testFiles } = await project.globTestFiles();
    if (testFiles.every((file) => ran.has(file))) whole.push(project.name);
  }
  return whole;
}

/** What is wrong with the run, in lines for people; says on stdout what was searched. */
export async function search(folder: string, projects: readonly string[]): Promise<string[]> {
  const keys = await readAll<MadeKey>(folder, 'keys');
  const artefacts = await readAll<Artefact>(folder, 'artefacts');
  const started = performance.now();
  const finds = findKeys(keys, artefacts);
  const took = Math.round(performance.now() - started);
  const mib = artefacts.reduce((sum, { text }) => sum + text.length, 0) / 2 ** 20;
  const counts = KINDS.map((kind) => `${kind} ${artefacts.filter((a) => a.kind === kind).length}`);
  const where = `${mib.toFixed(1)} MiB in ${took} ms (${counts.join(', ')})`;
  console.log(`keys: ${keys.length} made, looked for in ${where}`);
  return [
    ...new Set(finds.filter(isFirstOf).map((find) => `a key got out: ${describeFind(find)}`)),
    ...missing(projects, keys, artefacts),
  ];
}

/** A key that stands there whole is found by each of its halves. */
const isFirstOf = (find: Find, at: number, all: readonly Find[]): boolean =>
  all.findIndex(({ key, artefact }) => key === find.key && artefact === find.artefact) === at;

function missing(
  projects: readonly string[],
  keys: readonly MadeKey[],
  artefacts: readonly Artefact[],
): string[] {
  return (['key', ...KINDS] as const).flatMap((what) => {
    const least = projects.reduce((sum, name) => sum + (LEAST[name]?.[what] ?? 0), 0);
    const found = what === 'key' ? keys : artefacts.filter(({ kind }) => kind === what);
    if (found.length >= least) return [];
    return [`the search for keys saw ${found.length} of kind "${what}", and should see ${least}`];
  });
}

async function readAll<T>(folder: string, name: string): Promise<T[]> {
  const files = (await readdir(folder)).filter((each) => each.startsWith(`${name}-`));
  const read: T[] = [];
  for (const file of files) {
    const input = createReadStream(join(folder, file));
    for await (const line of createInterface({ input })) read.push(JSON.parse(line) as T);
  }
  return read;
}
