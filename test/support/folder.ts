import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';

/** Makes a folder for each test of a file, and removes it afterwards; tells which it is. */
export function eachInFolder(name: string): () => string {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), `${name}-`));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  return () => folder;
}

/** Writes files below a folder, each with the folders that it needs; resolves to the folder. */
export async function writeTree(root: string, files: Record<string, string>): Promise<string> {
  await mkdir(root, { recursive: true });
  const write = async ([path, content]: [string, string]): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  };
  await Promise.all(Object.entries(files).map(write));
  return root;
}
