import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

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
