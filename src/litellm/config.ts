import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What `SIDECAR_LITELLM_CONFIG` names cannot be given to LiteLLM; the message says why. */
export class ConfigTreeError extends Error {}

/** One file of LiteLLM's configuration, as it was read. */
export interface ConfigFile {
  /** Relative to the folder of `config.yaml`. */
  readonly path: string;
  readonly bytes: Buffer;
}

/** A folder with more is not a configuration but, most likely, somebody's project. */
const MAX_ENTRIES = 2_000;
const MAX_BYTES = 32 * 1024 * 1024;

/**
 * Whether an entry is no part of the configuration: what Python writes beside the callbacks that it
 * imports, and what is hidden, such as an editor's swap files, `.git`, a `.env` with the clients'
 * key, Kubernetes' `..data`.
 */
const isLeftOut = (name: string): boolean => name.startsWith('.') || name === '__pycache__';

/**
 * Reads LiteLLM's configuration whole and parses none of it: a file becomes `config.yaml`, a folder
 * must hold one beside its includes and callbacks. Links are followed. At most 2,000 entries and
 * 32 MiB. Everything is held in memory, so that what is digested is what is written.
 *
 * @throws ConfigTreeError where something is missing, unreadable, too large, or no plain file.
 */
export const readConfigTree = async (source: string): Promise<readonly ConfigFile[]> => {
  const files: ConfigFile[] = [];
  try {
    let total = 0;
    for await (const { from, path, size } of walk(source)) {
      // The size counts before the file is read: a log or a model there would fill the memory.
      total += size;
      if (total > MAX_BYTES) throw tooLarge(source, `${MAX_BYTES / 1024 / 1024} MiB`);
      files.push({ path, bytes: await readFile(from) });
    }
  } catch (cause) {
    throw cause instanceof ConfigTreeError ? cause : explained(source, cause);
  }
  if (!files.some((file) => file.path === 'config.yaml')) {
    throw new ConfigTreeError(`${source} is a folder without a config.yaml`);
  }
  return files;
};

/** Every plain file below `source`, or `source` itself. A loop of links ends in ELOOP. */
async function* walk(source: string): AsyncGenerator<{ from: string; path: string; size: number }> {
  const ahead = [{ from: source, path: '' }];
  let entries = 1;
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    const { from, path } = next;
    const found = await stat(from);
    if (found.isDirectory()) {
      const names = (await readdir(from)).filter((name) => !isLeftOut(name));
      entries += names.length;
      if (entries > MAX_ENTRIES) throw tooLarge(source, `${MAX_ENTRIES} entries`);
      ahead.push(...names.map((name) => ({ from: join(from, name), path: join(path, name) })));
    } else if (found.isFile()) {
      yield { from, path: path === '' ? 'config.yaml' : path, size: found.size };
    } else {
      throw new ConfigTreeError(`${from} is neither a file nor a folder`);
    }
  }
}

const tooLarge = (source: string, limit: string): ConfigTreeError =>
  new ConfigTreeError(
    `${source} has more than ${limit}: name config.yaml itself, or a folder of its own`,
  );

const explained = (source: string, cause: unknown): ConfigTreeError => {
  const { code, path } = cause as NodeJS.ErrnoException;
  const at = path ?? source;
  const reasons: Record<string, string> = {
    ENOENT: at === source ? `${at} does not exist` : `${at} does not exist, or is a broken link`,
    ENOTDIR: `${at} does not exist: a part of the path is a file`,
    EACCES: `${at} cannot be read by this user: permission denied`,
    ELOOP: `${at} is a link that leads back to itself`,
  };
  return new ConfigTreeError(reasons[code ?? ''] ?? `${at} cannot be read: ${String(code)}`, {
    cause,
  });
};

/** SHA-256, base64url, of names and contents; neither place nor times of the files count. */
export const digestOfTree = (files: readonly ConfigFile[]): string => {
  const digest = createHash('sha256');
  const byPath = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  for (const { path, bytes } of byPath) {
    // The lengths stand in front, so that no two trees feed the same bytes.
    digest.update(`${Buffer.byteLength(path)} ${bytes.length}\n${path}`).update(bytes);
  }
  return digest.digest('base64url');
};

/** What stands at a place: the digest of a configuration, or why it cannot be given to LiteLLM. */
export type ConfigSeen = string | ConfigTreeError;

export async function lookAtConfig(source: string): Promise<ConfigSeen> {
  try {
    return digestOfTree(await readConfigTree(source));
  } catch (error) {
    if (error instanceof ConfigTreeError) return error;
    throw error;
  }
}

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
      // Such a folder is no configuration, so what changes in it does not matter.
      if (stamps.length + ahead.length > MAX_ENTRIES) return `${source} is too large`;
    } catch (error) {
      stamps.push(`${path} ${(error as NodeJS.ErrnoException).code}`);
    }
  }
  return stamps.join('\n');
}
