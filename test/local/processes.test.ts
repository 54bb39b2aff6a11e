import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Child, supervise, tailOf } from '../../src/local/processes.ts';

/** A process that ends when the test says so, and writes down what it was told. */
function fakeChild(name: string, told: string[]) {
  let exit: (how: string) => void = () => undefined;
  const exited = new Promise<string>((resolve) => {
    exit = resolve;
  });
  const child: Child = {
    name,
    log: `${name}.log`,
    exited,
    end: () => told.push(`end ${name}`),
    kill: () => {
      told.push(`kill ${name}`);
      exit('signal SIGKILL');
    },
  };
  return { child, exit };
}

function setUp() {
  const told: string[] = [];
  const sidecar = fakeChild('sidecar', told);
  const litellm = fakeChild('litellm', told);
  return { told, sidecar, litellm, supervisor: supervise(sidecar.child, litellm.child) };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('the sidecar ends first, and litellm only once the sidecar has gone', async () => {
  const { told, sidecar, litellm, supervisor } = setUp();
  supervisor.interrupt();
  await settle();
  expect(told).toEqual(['end sidecar']);
  sidecar.exit('exit code 0');
  await settle();
  expect(told).toEqual(['end sidecar', 'end litellm']);
  litellm.exit('exit code 0');
  expect(await supervisor.ended).toEqual({ kind: 'finished' });
});

test('a second interrupt ends both at once', async () => {
  const { told, supervisor } = setUp();
  supervisor.interrupt();
  supervisor.interrupt();
  expect(told).toEqual(['end sidecar', 'kill sidecar', 'kill litellm']);
  expect(await supervisor.ended).toEqual({ kind: 'killed' });
});

test('where litellm dies, the sidecar is ended, and it is said who died', async () => {
  const { told, sidecar, litellm, supervisor } = setUp();
  litellm.exit('exit code 3');
  await settle();
  expect(told).toEqual(['end sidecar']);
  sidecar.exit('exit code 0');
  expect(await supervisor.ended).toEqual({
    kind: 'died',
    child: litellm.child,
    how: 'exit code 3',
  });
});

test('where the sidecar dies, litellm is ended', async () => {
  const { told, sidecar, litellm, supervisor } = setUp();
  sidecar.exit('exit code 64');
  await settle();
  expect(told).toContain('end litellm');
  litellm.exit('exit code 0');
  expect(await supervisor.ended).toMatchObject({ kind: 'died', how: 'exit code 64' });
});

test('an interrupt while the rest is ended after a death is a second one', async () => {
  const { told, litellm, supervisor } = setUp();
  litellm.exit('signal SIGKILL');
  await settle();
  supervisor.interrupt();
  expect(told).toEqual(['end sidecar', 'kill sidecar', 'kill litellm']);
  expect(await supervisor.ended).toEqual({ kind: 'killed' });
});

describe('the end of a log', () => {
  let file: string;
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sidecar-tail-'));
    file = join(folder, 'a.log');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('gives the last lines, without colours and without empty ones', () => {
    writeFileSync(file, 'one\n\u001b[32mtwo\u001b[0m\n\n  \nthree\r\nfour');
    expect(tailOf(file, 3)).toEqual(['two', 'three', 'four']);
  });

  test('reads no more of a long log than it needs', () => {
    writeFileSync(file, `${'x'.repeat(1_000_000)}\nlast\n`);
    expect(tailOf(file, 1)).toEqual(['last']);
  });

  test('a log that is not there has no lines', () => {
    expect(tailOf(join(folder, 'none'), 5)).toEqual([]);
    expect(tailOf(folder, 5)).toEqual([]);
  });
});
