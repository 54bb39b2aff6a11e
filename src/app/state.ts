import { basename, dirname, join } from 'node:path';
import type { Config } from '../config/settings.ts';
import { lockedState, openAdminSocket } from '../servers/admin/socket.ts';
import { readAudit, verifyAudit } from '../store/audit-reader.ts';
import { sweepLeftovers } from '../store/durable-file.ts';
import { createFileStore } from '../store/file-store.ts';
import { clientKeyPath, createKeyFiles, makeStateFolder } from '../store/key-files.ts';
import { behindLinks } from '../store/publish.ts';
import type { AppOptions } from './base.ts';

/** The state folder, which this process has locked for itself, and the stores in it. */
export type State = Awaited<ReturnType<typeof openState>>;

/**
 * Takes the state folder for this process: the admin socket in it is the lock.
 *
 * @throws StartupError where another sidecar has the folder, or it cannot be used
 */
export async function openState({ config, log }: AppOptions) {
  const { state } = config;
  await makeStateFolder(state);
  const path = join(state, 'admin.sock');
  const socket = await openAdminSocket({
    path,
    onError: (err) => log.error({ err }, 'the admin socket failed'),
  });
  try {
    await sweepAll(config);
  } catch (error) {
    await socket.close();
    throw error;
  }
  // The store repairs its audit while it is loaded, before there is a keeper to note that.
  const untold: string[] = [];
  let tellRepair = (message: string): void => void untold.push(message);
  return {
    store: createFileStore({ folder: state, onRepair: (message) => tellRepair(message) }),
    keyFiles: createKeyFiles(state),
    audit: {
      read: (after: number, limit: number) => readAudit(state, { after, limit }),
      verify: () => verifyAudit(state),
    },
    /** Calls the listener with each repair of the audit, those before this call included. */
    onRepair(listener: (message: string) => void): void {
      tellRepair = listener;
      untold.forEach(listener);
    },
    /** Whether the folder is still this process's. */
    mayWrite: socket.isStillOurs,
    /** Throws StartupError `locked` where another process has taken the folder. */
    checkLock(): void {
      if (!socket.isStillOurs()) throw lockedState(dirname(path));
    },
    /** Opens the admin API on `admin.sock`; until then each request there is told to wait. */
    serveAdmin: socket.serve,
    /** The admin API takes no more requests; resolves once those under way are answered. */
    drainAdmin: socket.drain,
    /** Lets the folder go; nothing may be written to it any more. */
    close: socket.close,
  };
}

/** Removes the half-written files that a process leaves which is killed while it writes a key. */
async function sweepAll({ state, publish }: Config): Promise<void> {
  await sweepLeftovers(dirname(clientKeyPath(state, 'master')));
  for (const { path } of publish) {
    const target = await behindLinks(path).catch(() => path);
    await sweepLeftovers(dirname(target), basename(target));
  }
}
