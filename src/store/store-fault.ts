import { StoreError } from './key-store.ts';

/** What to do, by what the system says. */
const HINTS: Readonly<Record<string, (path: string) => string>> = {
  ENOSPC: (path) => `free some space on the disk of ${path}`,
  EDQUOT: (path) => `free some space on the disk of ${path}, or raise the quota`,
  EROFS: (path) => `mount the disk of ${path} so that it can be written`,
  EACCES: (path) => `let the user that the sidecar runs as read and write ${path}`,
  EPERM: (path) => `let the user that the sidecar runs as read and write ${path}`,
  EIO: (path) => `look at the disk of ${path}: it fails`,
  ENOENT: (path) => `put ${path} back: it is gone`,
};

/** An error of the system in words for the operator; any other one as it is. */
export function storeFault(doing: string, path: string, cause: unknown): unknown {
  const { code, syscall } = cause as NodeJS.ErrnoException;
  if (cause instanceof StoreError || code === undefined || syscall === undefined) return cause;
  const hint = HINTS[code]?.(path) ?? `look at ${path}, and let the sidecar read and write it`;
  return new StoreError('unavailable', `${doing}: ${(cause as Error).message}`, { hint, cause });
}

/** Whatever a store threw, as one of its own errors. */
export const asStoreError = (cause: unknown): StoreError =>
  cause instanceof StoreError
    ? cause
    : new StoreError('unavailable', (cause as Error).message, { hint: '', cause });

/** Another process rules the state folder by now. */
export const lostFolder = (): StoreError =>
  new StoreError('conflict', 'another sidecar has taken the state folder', {
    hint: 'stop one of the two, then restart this one',
  });
