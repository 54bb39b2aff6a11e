import { dirname } from 'node:path';

/** Why a key could not be published, in words, from an error of Node's fs. Holds no key. */
export function publishError(path: string, cause: unknown): Error {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  const folder = dirname(path);
  const words: Record<string, string> = {
    ENOENT: `the folder ${folder} is not there: make it, and let the sidecar write it`,
    ENOTDIR: `${folder} is not a folder`,
    EISDIR: `${path} is a folder`,
    EACCES: `the sidecar may not write the folder ${folder}`,
    EPERM: `the sidecar may not write the folder ${folder}`,
    EROFS: `the folder ${folder} is read-only`,
    ENOSPC: `the disk of ${folder} is full`,
    EDQUOT: `the disk of ${folder} is full`,
    EBUSY: `${path} is mounted by itself and cannot be replaced: mount its folder`,
    ELOOP: `${path} is a symbolic link that leads to itself`,
  };
  return new Error(words[code] ?? message, { cause });
}
