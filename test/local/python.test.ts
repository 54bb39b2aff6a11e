import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CommandError } from '../../src/cli/terminal.ts';
import { faultInPython, findPython, installHints } from '../../src/local/install.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sidecar-python-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** An interpreter that says this of itself; it may use nothing but what `sh` brings along. */
const fake = (name: string, version: number[], venv: boolean): void => {
  const file = join(folder, name);
  const says = JSON.stringify({ version, venv });
  writeFileSync(file, `#!/bin/sh\necho '${says}'\n`);
  chmodSync(file, 0o755);
};

const failure = async (): Promise<CommandError> => {
  const error = await findPython({ PATH: folder }, 'linux').catch((reason: unknown) => reason);
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
  fake('python3', [3, 12, 4], true);
  expect(await findPython({ PATH: folder }, 'linux')).toEqual({
    command: 'python3',
    version: '3.12.4',
  });
});

test('a newer one beside an old python3 is taken', async () => {
  fake('python3', [3, 9, 1], true);
  fake('python3.12', [3, 12, 4], true);
  expect(await findPython({ PATH: folder }, 'linux')).toMatchObject({ command: 'python3.12' });
});

test('without python3 the error says what to install, and the code is 69', async () => {
  const { message, exitCode, hints } = await failure();
  expect(message).toBe('there is no python3');
  expect(exitCode).toBe(69);
  expect(hints[0]).toBe('debian, ubuntu: apt install python3 python3-venv');
});

test('without venv the error says so', async () => {
  fake('python3', [3, 11, 2], false);
  const { message, hints } = await failure();
  expect(message).toBe('python 3.11.2 lacks venv');
  expect(hints.join('\n')).toContain('apt install python3 python3-venv');
});

test('on macos the hint is brew', () => {
  expect(installHints('darwin')[0]).toMatch(/^macos: brew install python@/);
});
