import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Keyring } from '../../src/keyring/keyring.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { clientOf, keyringOf, withLines } from '../support/keyrings.ts';

/** The lines of the audit in a folder; none where it is not there. */
export const linesOf = async (folder: string): Promise<readonly string[]> => {
  const text = await readFile(join(folder, 'audit.jsonl'), 'utf8').catch(() => '');
  return text.split('\n').slice(0, -1);
};

export const master = (generations: number): Keyring =>
  keyringOf([clientOf('master', generations)]);

/** A keyring, and the one that follows it. */
export const first = withLines(master(1), ['one']);
export const second = withLines({ ...first, clients: master(2).clients }, ['two']);

/** Saves both, so that there is a backup; resolves to the bytes of the second. */
export async function saveBoth(folder: string): Promise<Buffer> {
  const store = createFileStore({ folder });
  await store.save(first, 0);
  await store.save(second, 1);
  return readFile(join(folder, 'keyring.json'));
}
