import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isLeftOut, MAX_ENTRIES } from './config-tree.ts';

/**
 * A text that differs when something below `source`, or `source` itself, was written, replaced,
 * swapped, given other rights, or is gone; made without reading a byte of any file. Links are
 * followed, so one that leads elsewhere now shows. Never rejects.
 */
export async function stampsOf(source: string): Promise<string> {
  const stamps: string[] = [];
  const ahead = [source];
  for (let path = ahead.pop(); path !== undefined; path = ahead.pop()) {
    try {
      const found = await stat(path, { bigint: true });
      const { dev, ino, size, mtimeNs, ctimeNs } = found;
      stamps.push(`${path} ${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`);
      if (!found.isDirectory()) continue;
      const names = (await readdir(path)).filter((name) => !isLeftOut(name));
      ahead.push(...names.map((name) => join(path, name)));
      // No configuration: what changes in it is nothing to us.
      if (stamps.length + ahead.length > MAX_ENTRIES) return `${source} is too large`;
    } catch (error) {
      stamps.push(`${path} ${(error as NodeJS.ErrnoException).code}`);
    }
  }
  return stamps.join('\n');
}
