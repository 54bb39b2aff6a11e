import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lstatSync, renameSync } from 'node:fs';
import { chmod, lstat, readdir, rm, stat } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isServedNoMore } from '../../proxy/client-connection.ts';
import { StartupError } from '../../startup-error.ts';
import { openSocketFolder, type SocketFolder } from '../../store/socket-folder.ts';
import { mayHoldKey } from '../../text/safe.ts';
import { createPendingAnswers } from '../listener.ts';
import { createOperatorServer } from '../operators.ts';
import { createPipelineGuard } from '../pipelining.ts';
import type { AdminApi } from './api.ts';
import { type ProblemCode, problemAnswer, sendAnswer } from './http.ts';

/**
 * The lock on a state folder is a listening socket: the kernel closes it however its process ends,
 * so whoever can connect knows that the owner lives. Who wants the lock listens under a name of its
 * own, asks whether somebody listens at the lock, and renames its name over it.
 *
 * Of two that asked before either renamed, the later rename has the lock. The earlier one sees the
 * other's own name until then, so it waits until no such name is alive, and looks: is the socket at
 * the path still ours? Who listens only after that wait began also asks later, and finds the owner.
 * A process that stands still for `PATIENCE_MS` between its question and its rename takes the lock
 * from its owner, who sees it before it serves (`app/app.ts`) and before each save, behind which
 * stands the keyring's compare-and-swap.
 */
const OWN_NAME = /^\.admin-[0-9a-f]{16}\.sock$/;
const makeOwnName = (): string => `.admin-${randomBytes(8).toString('hex')}.sock`;

const LOOK_EVERY_MS = 20;
const PATIENCE_MS = 2_000;

/**
 * Listens with `server` at a path that nobody else listens at.
 *
 * @throws StartupError `locked` where somebody does; `state` where the folder does not allow it.
 *   The server is closed then
 */
export async function lockSocket(path: string, server: Server) {
  const own = makeOwnName();
  const state = dirname(path);
  const folder = await openFolder(path, own);
  // Before the permissions are set anybody may connect, and nobody has a reason to.
  const turnAway = (socket: Socket): unknown => socket.destroy();
  server.on('connection', turnAway);
  try {
    server.listen(folder.at(own));
    await once(server, 'listening');
    const isStillOurs = await takeOver(path, join(state, own), folder);
    server.off('connection', turnAway);
    await sweep(state, folder);
    if (!isStillOurs()) throw lockedState(state);
    return {
      /** Whether the path still leads to our own socket. */
      isStillOurs,
      /** Removes the path, where it is still ours, and then stops listening. */
      async release(): Promise<void> {
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

/** Puts our own name in the place of the lock, unless somebody listens there. */
async function takeOver(path: string, own: string, folder: SocketFolder): Promise<() => boolean> {
  try {
    await chmod(own, 0o600);
    const { ino, dev } = await lstat(own, { bigint: true });
    await checkOwner(path, folder);
    // In the turn of the answer: the less time between the two, the fewer ask meanwhile.
    renameSync(own, path);
    return () => {
      const there = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      return there !== undefined && there.ino === ino && there.dev === dev;
    };
  } catch (cause) {
    // The owner removed our name: bound, and not listened at yet, it looks like that of the dead.
    throw (cause as NodeJS.ErrnoException).code === 'ENOENT' ? lockedState(dirname(path)) : cause;
  }
}

async function checkOwner(path: string, folder: SocketFolder): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new StartupError('state', `${path} is in the way: it is no socket`, {
      hint: 'move it away; the sidecar keeps its admin socket there',
    });
  }
  if (await isAlive(folder.at(basename(path)))) throw lockedState(dirname(path));
}

/** Whether a process listens there. Its answer does not matter, as it may hang. */
function isAlive(address: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const { code = '' } = error;
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      // More processes connect than the kernel queues (EAGAIN), or the listener stops just now.
      else if (code === 'EAGAIN' || code === 'ECONNRESET' || code === 'EPIPE') resolve(true);
      else reject(error);
    });
  });
}

/** Removes the names of processes that died, and waits for those that live to go by themselves. */
async function sweep(state: string, folder: SocketFolder): Promise<void> {
  for (const last = Date.now() + PATIENCE_MS; Date.now() < last; await sleep(LOOK_EVERY_MS)) {
    const names = (await readdir(state)).filter((name) => OWN_NAME.test(name));
    const alive = await Promise.all(names.map((name) => isAlive(folder.at(name))));
    const dead = names.filter((_, at) => !alive[at]);
    await Promise.all(dead.map((name) => rm(join(state, name), { force: true })));
    if (dead.length === names.length) return;
  }
}

/** libuv removes the name that it bound; no other process ever has that name. */
async function stop(server: Server, folder: SocketFolder): Promise<void> {
  if (server.listening) {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }
  await folder.close();
}

/** Another process has the state folder. */
export const lockedState = (state: string): StartupError =>
  new StartupError('locked', `another sidecar runs with the state folder ${state}`, {
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
  const { code = 'an unknown error' } = cause as NodeJS.ErrnoException;
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
export type AdminSocket = Awaited<ReturnType<typeof openAdminSocket>>;

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
export async function openAdminSocket(options: AdminSocketOptions) {
  const pending = createPendingAnswers();
  let serving: AdminApi | keyof typeof CLOSED = 'starting';
  const isServed = createPipelineGuard();
  const server = createOperatorServer({}, (request, response) => {
    if (!isServed(request, response) || isServedNoMore(request.socket)) return;
    pending.add(response);
    if (typeof serving === 'object') serving.handle(request, response, actorOf(request));
    else sendClosed(request, response, serving);
  });
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
    /** Serves from now on; before this call every request is answered 503 `starting`. */
    serve(api: AdminApi): void {
      if (serving === 'starting') serving = api;
    },
    /**
     * Whether this process still has the state folder; asked before each save, it costs a system
     * call. False for good once another process took the socket's name or somebody removed it.
     */
    isStillOurs: lock.isStillOurs,
    /**
     * New requests are answered 503 `stopping`; resolves once those under way have their answers,
     * after 2 s at most. The folder stays locked until `close`.
     */
    drain,
    /** Drains; then removes the socket's name, if it is still ours, and so gives up the lock. */
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
  // The command line writes ? for what no header may hold.
  const isName = /^[\w.@?+$~\\-]{1,64}$/.test(name) && !mayHoldKey(name);
  return isName ? `cli:${name}` : 'socket';
}
