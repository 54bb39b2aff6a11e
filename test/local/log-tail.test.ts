import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { tailOf } from '../../src/local/child.ts';

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
