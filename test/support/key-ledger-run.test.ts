import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { TestProject } from 'vitest/node';
import setup, { search } from './key-ledger-run.ts';

/** Not made by `generateKey`, but of its form. */
const KEY = 'sk-PlantedInTheLedgerOfARunAndItsOtherHalfIsThisOne';

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
      'the first half of a key that test/a.test.ts made',
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

describe('the end of a run', () => {
  const exitCode = process.exitCode;
  beforeEach(() => {
    vi.spyOn(console, 'error').mockReturnValue();
  });
  afterEach(() => {
    process.exitCode = exitCode;
  });

  /** Ends a run that left `folder`, of which these files ran; gives its exit code. */
  async function end(ran: readonly string[], testNamePattern?: RegExp) {
    let ledger = '';
    const all = ['/test/e2e/a.test.ts', '/test/e2e/b.test.ts'];
    const project = {
      provide: (_name: string, path: string) => {
        ledger = path;
      },
      vitest: {
        config: { testNamePattern },
        state: { getTestModules: () => ran.map((moduleId) => ({ moduleId })) },
        projects: [{ name: 'e2e', globTestFiles: async () => ({ testFiles: all }) }],
      },
    };
    const teardown = await setup(project as unknown as TestProject);
    await cp(folder, ledger, { recursive: true });
    process.exitCode = 0;
    await teardown();
    const code = process.exitCode;
    expect(existsSync(ledger)).toBe(false);
    return { code, said: vi.mocked(console.error).mock.calls.join() };
  }

  it('fails where a key got out, whatever ran, and leaves no ledger', async () => {
    await note('artefacts', 2, artefact(KEY));
    const { code, said } = await end(['/test/e2e/a.test.ts']);
    expect([code, said]).toEqual([1, expect.stringContaining('a key got out')]);
  });

  it('fails where every test ran and there was almost nothing to search', async () => {
    const { code, said } = await end(['/test/e2e/b.test.ts', '/test/e2e/a.test.ts']);
    expect([code, said]).toEqual([1, expect.stringContaining('should see')]);
  });

  it('asks for nothing where only some ran', async () => {
    expect(await end(['/test/e2e/a.test.ts'])).toEqual({ code: 0, said: '' });
    const all = ['/test/e2e/a.test.ts', '/test/e2e/b.test.ts'];
    expect(await end(all, /one of them/)).toEqual({ code: 0, said: '' });
  });
});
