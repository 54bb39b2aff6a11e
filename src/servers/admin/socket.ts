import { randomBytes } from 'node:crypto';
import { type BigIntStats, lstatSync } from 'node:fs';
import { chmod, lstat, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isServedNoMore } from '../../proxy/client-connection.ts';
import { StartupError } from '../../startup-error.ts';
import { createPendingAnswers, MOST_OPERATORS, OPERATOR_LIMITS } from '../listener.ts';
import type { AdminApi } from './api.ts';
import { type ProblemCode, problemAnswer, sendAnswer } from './http.ts';

/** How many bytes the path of a socket may have: Linux takes 107, macOS and the BSDs 103. */
const MOST_BYTES = 103;

/** A folder under a name that is short enough for the paths of its sockets. */
interface SocketFolder {
  /** What to listen on or to connect to. */
  at(name: string): string;
  /** After this the paths that `at` gave lead nowhere. */
  close(): Promise<void>;
}

/**
 * Opens a folder for sockets. Node cuts a path that is too long, in silence, and listens at another
 * one. On Linux a folder that is open has a second, short name: `/proc/self/fd/<number>`.
 *
 * @param longest the longest name that `at` will be asked for
 * @throws Error of Node's fs; with the code ENAMETOOLONG where the folder has no short name
 */
async function openSocketFolder(folder: string, longest: string): Promise<SocketFolder> {
  if (Buffer.byteLength(join(folder, longest)) <= MOST_BYTES) {
    return { at: (name) => join(folder, name), close: () => Promise.resolve() };
  }
  const handle = await open(folder);
  try {
    const short = `/proc/self/fd/${handle.fd}`;
    const [own, same] = await Promise.all([handle.stat(), stat(short).catch(() => undefined)]);
    if (own.ino !== same?.ino || own.dev !== same.dev) {
      const message = `a socket's name may have ${MOST_BYTES} bytes here`;
      throw Object.assign(new Error(message), { code: 'ENAMETOOLONG' });
    }
    return { at: (name) => `${short}/${name}`, close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * A path by which a client can connect to a socket, however long the socket's own path is; to be
 * closed after the connection is made. Does not look whether the socket is there.
 *
 * @throws as `openSocketFolder`
 */
export async function reachSocket(
  path: string,
): Promise<{ readonly path: string; close(): Promise<void> }> {
  const name = basename(path);
  const folder = await openSocketFolder(dirname(path), name);
  return { path: folder.at(name), close: folder.close };
}

/** What kind of file a path leads to. */
async function kindAt(path: string): Promise<'socket' | 'nothing' | 'other'> {
  try {
    return (await lstat(path)).isSocket() ? 'socket' : 'other';
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'nothing';
    throw error;
  }
}

/**
 * The lock on a state folder is a listening socket: the kernel closes it however its process ends,
 * so whoever can connect knows that the owner lives. To take over from a dead owner is two steps,
 * look and rename, and two processes must not do both at once. So every process that wants the lock
 * first listens under a waiting name of its own, which is never used again, and then looks:
 *
 * 1. at the other waiting names. Where a lower one is alive, it gives up. Where a higher one is,
 *    that process may have looked before this one listened: wait until it gives up or has the lock.
 * 2. at the lock itself. Where somebody listens, it gives up; where nobody does, it renames its
 *    waiting name to that of the lock.
 *
 * Of two processes one listened first, and the other sees it, waiting or as the owner, and goes on
 * only once that one has given up. Where nobody has the lock, the lowest name gets it.
 */
const WAITING = /^\.admin-[0-9a-f]{16}\.sock$/;
const waitingName = (): string => `.admin-${randomBytes(8).toString('hex')}.sock`;

const LOOK_EVERY_MS = 20;
/** Whoever neither gives up nor takes the lock for so long hangs, and counts as its owner. */
const PATIENCE_MS = 5_000;

interface SocketLock {
  /** Whether the path still leads to our own socket. */
  isStillOurs(): boolean;
  /** Removes the path, where it is still ours, and then stops listening. */
  release(): Promise<void>;
}

/**
 * Listens with `server` at a path that nobody else listens at.
 *
 * @throws StartupError `locked` where somebody does; `state` where the folder does not allow it.
 *   The server is closed then
 */
export async function lockSocket(path: string, server: Server): Promise<SocketLock> {
  const own = waitingName();
  const state = dirname(path);
  const folder = await openFolder(path, own);
  // Before the permissions are set anybody may connect, and nobody has a reason to.
  const turnAway = (socket: Socket): unknown => socket.destroy();
  server.on('connection', turnAway);
  try {
    await listen(server, folder.at(own));
    const { ino, dev } = await whileOurs(path, () => closeToOthers(join(state, own)));
    await waitForTurn(path, own, folder);
    server.off('connection', turnAway);
    await whileOurs(path, () => rename(join(state, own), path));
    await sweep(state, folder);
    const isStillOurs = (): boolean => {
      const there = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      return there !== undefined && there.ino === ino && there.dev === dev;
    };
    return {
      isStillOurs,
      async release() {
        // The path goes while the server still listens: whoever finds no path may take the folder.
        // A path that cannot be removed does no harm, as nobody listens there from now on.
        if (isStillOurs()) await rm(path, { force: true }).catch(() => undefined);
        await stop(server, folder);
      },
    };
  } catch (cause) {
    await stop(server, folder);
    throw cause instanceof StartupError ? cause : cannotListen(path, cause);
  }
}

async function openFolder(path: string, longest: string): Promise<SocketFolder> {
  try {
    // `bind` fails with EACCES where the folder is missing; `stat` tells the two apart.
    await stat(`${dirname(path)}/.`);
    return await openSocketFolder(dirname(path), longest);
  } catch (cause) {
    throw cannotListen(path, cause);
  }
}

/** Lets no other user connect. Resolves to the identity of the file, by inode and device. */
async function closeToOthers(file: string): Promise<BigIntStats> {
  await chmod(file, 0o600);
  return lstat(file, { bigint: true });
}

/**
 * Does what needs our own waiting name, and reports the lock as taken where that name is gone. Only
 * the owner of the lock removes names of others, where nobody listens at them. One that is bound
 * and not listened at yet looks like one of these.
 */
async function whileOurs<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw codeOf(cause) === 'ENOENT' ? locked(path) : cause;
  }
}

async function waitForTurn(path: string, own: string, folder: SocketFolder): Promise<void> {
  const lastLook = Date.now() + PATIENCE_MS;
  for (;;) {
    // First the others, then the lock: whoever gets the lock in between is seen as its owner.
    const others = (await waiting(dirname(path), folder)).filter((name) => name !== own);
    await checkOwner(path, folder);
    if (others.length === 0) return;
    if (others.some((name) => name < own) || Date.now() > lastLook) throw locked(path);
    await sleep(LOOK_EVERY_MS);
  }
}

/** The waiting names that somebody listens at. */
async function waiting(state: string, folder: SocketFolder): Promise<string[]> {
  const names = (await readdir(state)).filter((name) => WAITING.test(name));
  const alive = await Promise.all(names.map((name) => isAlive(folder.at(name))));
  return names.filter((_, at) => alive[at]);
}

async function checkOwner(path: string, folder: SocketFolder): Promise<void> {
  const kind = await kindAt(path);
  if (kind === 'nothing') return;
  if (kind === 'other') {
    throw new StartupError('state', `${path} is in the way: it is no socket`, {
      hint: 'move it away; the sidecar keeps its admin socket there',
    });
  }
  if (await isAlive(folder.at(basename(path)))) throw locked(path);
}

/** Whether a process listens there. Its answer does not matter, as it may hang. */
function isAlive(address: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      const code = codeOf(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      // More processes connect than the kernel queues (EAGAIN), or the listener stops just now.
      else if (code === 'EAGAIN' || code === 'ECONNRESET' || code === 'EPIPE') resolve(true);
      else reject(error);
    });
  });
}

/** Removes the waiting names of processes that died. */
async function sweep(state: string, folder: SocketFolder): Promise<void> {
  const names = (await readdir(state)).filter((name) => WAITING.test(name));
  await Promise.all(
    names.map(async (name) => {
      if (!(await isAlive(folder.at(name)))) await rm(join(state, name), { force: true });
    }),
  );
}

function listen(server: Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** libuv removes the waiting name that it bound; no other process ever has that name. */
async function stop(server: Server, folder: SocketFolder): Promise<void> {
  if (server.listening) {
    const closed = new Promise((resolve) => {
      server.close(resolve);
    });
    server.closeAllConnections();
    await closed;
  }
  await folder.close();
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;

const locked = (path: string): StartupError =>
  new StartupError('locked', `another sidecar runs with the state folder ${dirname(path)}`, {
    hint: 'stop it, or set SIDECAR_STATE to a folder of its own',
  });

const REASONS: Readonly<Record<string, string>> = {
  ENAMETOOLONG: 'its path is longer than a socket may have',
  EACCES: 'the permission is missing',
  EPERM: 'the permission is missing, or its file system has no sockets',
  EROFS: 'it is read-only',
  ENOENT: 'it is not there',
  ENOTDIR: 'it is no folder',
  ENOSPC: 'the disk is full',
  EOPNOTSUPP: 'its file system has no sockets',
  ENOTSUP: 'its file system has no sockets',
};

function cannotListen(path: string, cause: unknown): StartupError {
  const code = String(codeOf(cause) ?? 'an unknown error');
  const reason = REASONS[code] ?? code;
  return new StartupError(
    'state',
    `the admin socket cannot be opened in the state folder ${dirname(path)}: ${reason}`,
    { hint: 'set SIDECAR_STATE to a local folder that this user can write to', cause },
  );
}

interface AdminSocketOptions {
  /** `admin.sock` in the state folder, which must be there; any length. */
  readonly path: string;
  /** Told of errors of the listening socket. */
  readonly onError: (error: unknown) => void;
}

/** The way in for the command line, and the lock on the state folder. */
export interface AdminSocket {
  /** Serves from now on; before this call every request is answered 503 `starting`. */
  serve(api: AdminApi): void;
  /**
   * Whether this process still has the state folder; asked before each save, it costs a system
   * call. False for good once another process took the socket's name or somebody removed it.
   */
  isStillOurs(): boolean;
  /**
   * New requests are answered 503 `stopping`; resolves once those under way have their answers,
   * after 2 s at most. The folder stays locked until `close`.
   */
  drain(): Promise<void>;
  /** Drains; then removes the socket's name, if it is still ours, and so gives up the lock. */
  close(): Promise<void>;
}

const DRAIN_WITHIN_MS = 2_000;

const CLOSED = {
  starting: 'the sidecar is starting',
  stopping: 'the sidecar is stopping',
} as const satisfies Partial<Record<ProblemCode, string>>;

/**
 * Takes the lock on a state folder. File permissions are the login: who can connect is its owner.
 *
 * @throws StartupError `locked` where another sidecar has it; `state` where there can be no socket
 */
export async function openAdminSocket(options: AdminSocketOptions): Promise<AdminSocket> {
  const pending = createPendingAnswers();
  let serving: AdminApi | keyof typeof CLOSED = 'starting';
  const server = createServer(OPERATOR_LIMITS, (request, response) => {
    if (isServedNoMore(request.socket)) return;
    pending.add(response);
    if (typeof serving === 'object') serving.handle(request, response, actorOf(request));
    else sendClosed(request, response, serving);
  });
  server.maxConnections = MOST_OPERATORS;
  const lock = await lockSocket(options.path, server);
  server.on('error', options.onError);

  const drain = async (): Promise<void> => {
    serving = 'stopping';
    pending.endConnections();
    server.closeIdleConnections();
    await pending.settled(DRAIN_WITHIN_MS);
  };
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await drain();
    await lock.release();
  };
  return {
    serve(api) {
      if (serving === 'starting') serving = api;
    },
    isStillOurs: lock.isStillOurs,
    drain,
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}

function sendClosed(
  request: IncomingMessage,
  response: ServerResponse,
  code: keyof typeof CLOSED,
): void {
  sendAnswer(request, response, problemAnswer({ code, detail: CLOSED[code] }));
}

/** The user that the command line runs as, by its own word: whoever connects may do the same. */
function actorOf({ headers }: IncomingMessage): string {
  const name = headers['x-sidecar-actor']?.toString() ?? '';
  return /^[A-Za-z0-9._@-]{1,64}$/.test(name) ? `cli:${name}` : 'socket';
}
