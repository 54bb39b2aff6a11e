import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CommandError } from '../../src/cli/terminal.ts';
import {
  faultInPython,
  findPython,
  installHints,
  installSteps,
  isInstalled,
  litellmIn,
} from '../../src/local/install.ts';
import { fakePython } from './fake-python.ts';

let base: string;
let folder: string;
const stop = new AbortController();

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'sidecar-install-'));
  folder = join(base, 'litellm');
});
afterEach(() => rm(base, { recursive: true }));

const GOOD = 'echo Collecting litellm; echo; echo Done; : > "$(dirname "$0")/litellm"';

async function install(signal: AbortSignal = stop.signal) {
  const notes: string[] = [];
  const words: string[] = [];
  const env = { PATH: `${base}:${process.env['PATH']}` };
  const log = join(base, 'pip.log');
  for (const step of installSteps(folder, { log, env, signal })) {
    words.push(await step.run((line) => notes.push(line)));
  }
  return { notes, words, log };
}

test('once all is there, it counts; pip is heard and logged meanwhile', async () => {
  await fakePython(base, GOOD);
  expect(await isInstalled(folder)).toBe(false);
  const { notes, words, log } = await install();
  expect(words[0]).toBe('python 3.12.1');
  expect(notes).toEqual(['Collecting litellm', 'Done']);
  expect(await readFile(log, 'utf8')).toContain('Collecting litellm\n');
  expect(await isInstalled(folder)).toBe(true);
});

test('another release is another installation', async () => {
  await fakePython(base, GOOD);
  await install();
  expect(await isInstalled(folder, [['litellm==1.104.9']])).toBe(false);
});

test.each([
  ['the program is gone', () => rm(litellmIn(folder))],
  ['it was for another version', () => writeFile(join(folder, 'installed-by-sidecar'), 'older')],
  ['its python is gone', () => rm(join(folder, 'bin/python'))],
])('it no longer counts where %s', async (_case, spoil) => {
  await fakePython(base, GOOD);
  await install();
  await spoil();
  expect(await isInstalled(folder)).toBe(false);
});

test('a pip that fails is told with the end of what it said, and does not count', async () => {
  await fakePython(base, `${GOOD}; echo 'ERROR: no space left' >&2; exit 2`);
  await expect(install()).rejects.toMatchObject({
    message: 'pip failed (2)',
    exitCode: 69,
    detail: expect.arrayContaining(['ERROR: no space left']),
  });
  expect(await isInstalled(folder)).toBe(false);
});

test('an interrupted pip is ended, does not count, and leaves nothing to the next try', async () => {
  await fakePython(base, 'echo started; exec sleep 600');
  const interrupt = new AbortController();
  const steps = installSteps(folder, {
    log: join(base, 'pip.log'),
    env: { PATH: `${base}:${process.env['PATH']}` },
    signal: interrupt.signal,
  });
  await steps[0]?.run(() => undefined);
  await writeFile(join(folder, 'half'), '');
  const ended = steps[1]?.run(() => interrupt.abort());
  await expect(ended).rejects.toMatchObject({ message: 'interrupted', exitCode: 130 });
  expect(await isInstalled(folder)).toBe(false);

  await fakePython(base, GOOD);
  await install();
  expect(existsSync(join(folder, 'half'))).toBe(false);
});

/** An interpreter that says this of itself; it may use nothing but what `sh` brings along. */
const interpreter = (name: string, version: number[], venv: boolean): void => {
  const file = join(base, name);
  const says = JSON.stringify({ version, venv });
  writeFileSync(file, `#!/bin/sh\necho '${says}'\n`);
  chmodSync(file, 0o755);
};

const failure = async (): Promise<CommandError> => {
  const error = await findPython({ PATH: base }).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CommandError);
  return error as CommandError;
};

test.each([
  [[3, 9, 2], true, 'python 3.9.2 does not run litellm, which wants 3.10 to 3.14'],
  [[3, 15, 0], true, 'python 3.15.0 does not run litellm, which wants 3.10 to 3.14'],
  [[2, 7, 18], true, 'python 2.7.18 does not run litellm, which wants 3.10 to 3.14'],
  [[3, 11, 2], false, 'python 3.11.2 lacks venv'],
  [[3, 10, 0], true, undefined],
  [[3, 14, 1], true, undefined],
] as const)('of %j with venv %s it is said: %s', (version, venv, fault) => {
  expect(faultInPython({ version, venv })).toBe(fault);
});

test('a good python3 is taken', async () => {
  interpreter('python3', [3, 12, 4], true);
  expect(await findPython({ PATH: base })).toEqual({
    command: 'python3',
    version: '3.12.4',
  });
});

test('a newer one beside an old python3 is taken', async () => {
  interpreter('python3', [3, 9, 1], true);
  interpreter('python3.12', [3, 12, 4], true);
  expect(await findPython({ PATH: base })).toMatchObject({ command: 'python3.12' });
});

test('without python3 the error says what to install, and the code is 69', async () => {
  const { message, exitCode, hints } = await failure();
  expect(message).toBe('there is no python3');
  expect(exitCode).toBe(69);
  expect(hints).toEqual(installHints(process.platform));
});

test('without venv the error says so', async () => {
  interpreter('python3', [3, 11, 2], false);
  const { message, hints } = await failure();
  expect(message).toBe('python 3.11.2 lacks venv');
  expect(hints).toEqual(installHints(process.platform));
});

test('the hint is apt on linux, and brew on macos', () => {
  expect(installHints('linux')[0]).toBe('debian, ubuntu: apt install python3 python3-venv');
  expect(installHints('darwin')[0]).toMatch(/^macos: brew install python@/);
});
