import { basename, dirname, join } from 'node:path';
import type { Config } from '../config/settings.ts';
import { parseLine } from '../keyring/audit.ts';
import type { KeyAdmin } from '../rotation/admin.ts';
import { BY_CLIENTS_FILE } from '../rotation/file-clients.ts';
import { noAudit, withoutChanges } from '../rotation/no-state.ts';
import { lockedState, openAdminSocket } from '../servers/admin/socket.ts';
import { readAudit, verifyAudit } from '../store/audit-reader.ts';
import { sweepLeftovers } from '../store/durable-file.ts';
import { createFileStore } from '../store/file-store.ts';
import {
  clientKeyPath,
  createAcceptedKey,
  createKeyFiles,
  makeStateFolder,
} from '../store/key-files.ts';
import { createPassingStore, NO_ACCEPTED_KEY, NO_KEY_FILES } from '../store/no-state.ts';
import { behindLinks } from '../store/publish.ts';
import { createUsageThread } from '../store/usage-thread.ts';
import { createUsageMemory } from '../usage/memory.ts';
import type { AppOptions } from './base.ts';

/**
 * All that is kept, and who may change it: a folder that this process has locked for itself, or
 * nothing. Only this file asks which.
 */
export type State = Awaited<ReturnType<typeof openFolder>>;

/** @throws StartupError where another sidecar has the state folder, or it cannot be used */
export const openState = (options: AppOptions): Promise<State> => {
  const { state } = options.config;
  return state === undefined ? Promise.resolve(keepNothing(options)) : openFolder(options, state);
};

/** Takes the state folder for this process: the admin socket in it is the lock. */
async function openFolder({ config, log, usageProgram: program }: AppOptions, state: string) {
  await makeStateFolder(state);
  const path = join(state, 'admin.sock');
  const socket = await openAdminSocket({
    path,
    onError: (err) => log.error({ err }, 'the admin socket failed'),
  });
  try {
    await sweepAll(config, state);
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
    acceptedKey: createAcceptedKey(state),
    audit: {
      read: (after: number, limit: number) => readAudit(state, { after, limit }),
      verify: () => verifyAudit(state),
    },
    usage: {
      ...usageFile(join(state, 'usage.db'), program, log),
      /** Why a report never has all; undefined: it has. */
      lacks: undefined as string | undefined,
    },
    /** What operators may ask of keys. */
    verbs: (admin: KeyAdmin): KeyAdmin => admin,
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

const usageFile = (path: string, program: URL, log: AppOptions['log']) =>
  createUsageThread({
    ...{ path, program },
    onMoved: (where) =>
      log.error({ where }, `${path} was damaged: it was moved away, and a new one begun`),
  });

/** Removes the half-written files that a process leaves which is killed while it writes a key. */
async function sweepAll({ publish }: Config, state: string): Promise<void> {
  await sweepLeftovers(dirname(clientKeyPath(state, 'master')));
  for (const { path } of publish) {
    const target = await behindLinks(path).catch(() => path);
    await sweepLeftovers(dirname(target), basename(target));
  }
}

const BY_FILE = `"by":${JSON.stringify(BY_CLIENTS_FILE)}`;

/** Nothing is written, and what is in memory goes with the process. */
function keepNothing({ log }: AppOptions): State {
  const nothing = () => Promise.resolve();
  return {
    store: createPassingStore((text) => {
      // The log has one line for all that a change of the clients file did.
      if (text.includes(BY_FILE)) return;
      const { seq: _seq, prev: _prev, ...audit } = parseLine(text) ?? {};
      log.info({ audit }, 'audit');
    }),
    ...{ keyFiles: NO_KEY_FILES, acceptedKey: NO_ACCEPTED_KEY },
    audit: {
      read: () => Promise.reject(noAudit()),
      verify: () => Promise.reject(noAudit()),
    },
    usage: {
      ...createUsageMemory(),
      lacks: 'nothing is kept (SIDECAR_STATE=none), so it began with this process',
    },
    verbs: withoutChanges,
    onRepair: () => undefined,
    mayWrite: () => true,
    checkLock: () => undefined,
    // The ops port has the admin API, where a token opens it.
    serveAdmin: () => undefined,
    ...{ drainAdmin: nothing, close: nothing },
  };
}
