import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { search } from './key-ledger-run.ts';

const KEY = 'sk-planted-in-the-ledger-of-a-run';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sidecar-ledger-'));
  vi.spyOn(console, 'log').mockReturnValue();
  await note('keys', 1, { key: KEY, test: 'test/a.test.ts' });
});
afterEach(() => rm(folder, { recursive: true }));

const note = (name: string, pid: number, line: object): Promise<void> =>
  writeFile(join(folder, `${name}-${pid}.jsonl`), `${JSON.stringify(line)}\n`);

const artefact = (text: string) => ({ kind: 'audit', name: 'audit.jsonl', test: 'b', text });

it('finds a key of one process in what another one wrote, and tells it once', async () => {
  await note('artefacts', 2, artefact(`{}\n${KEY} ${KEY}`));
  const mistakes = await search(folder, []);
  expect(mistakes).toEqual([
    'a key got out: audit.jsonl, line 2 (audit of b): ' +
      'the last 24 characters of a key that test/a.test.ts made',
  ]);
  expect(mistakes.join()).not.toContain(KEY.slice(-24));
});

it('is content where no key stands', async () => {
  await note('artefacts', 2, artefact('{}'));
  expect(await search(folder, [])).toEqual([]);
});

it('says how much it searched', async () => {
  await note('artefacts', 2, artefact('{}'));
  await search(folder, []);
  expect(console.log).toHaveBeenCalledWith(
    expect.stringMatching(/^keys: 1 made, looked for in 0\.0 MiB in \d+ ms \(log 0,.* audit 1,/),
  );
});

it.each(['unit', 'e2e', 'process', 'litellm', 'compose'])(
  'does not believe a whole run of %s that brought almost nothing',
  async (project) => {
    await note('artefacts', 2, artefact('{}'));
    const mistakes = await search(folder, [project]);
    expect(mistakes).toContainEqual(expect.stringMatching(/saw \d+ .* and should see \d+$/));
  },
);
