import { statSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import type { Method } from '../servers/admin/endpoints.ts';
import { reachSocket } from '../store/socket-folder.ts';
import { parseJson } from '../text/safe.ts';
import type { Door } from './settings.ts';
import { CommandError, currentUser, EXIT } from './terminal.ts';

/** One request to the admin API. */
export interface AdminQuestion {
  readonly method: Method;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object | undefined;
  /** Ends the request, which is a `BrokenConnection` then. */
  readonly signal?: AbortSignal | undefined;
}

export interface AdminReply {
  readonly status: number;
  /** The parsed JSON, always an object. */
  readonly body: object;
}

/** The connection ended before the answer: the request may have been carried out, or not. */
export class BrokenConnection extends CommandError {}

/** Sends one request to the sidecar behind a door. Throws `CommandError`. */
export async function callSidecar(
  door: Door,
  call: AdminQuestion,
  timeoutMs: number,
): Promise<AdminReply> {
  if (door.kind === 'folder') return await callSocket(door.state, call, timeoutMs);
  const { url, token } = door;
  const { hostname: host, port, origin } = url;
  const headers = { ...call.headers, authorization: `Bearer ${token.reveal()}` };
  const place = { host: host.replace(/^\[|\]$/g, ''), port };
  const answered = exchange(place, { ...call, headers }, timeoutMs).then(replyOf);
  const reply = await answered.catch((error: unknown) => {
    if (error instanceof CommandError) throw error;
    throw explainNoPort(error as NodeJS.ErrnoException, origin);
  });
  if (reply === undefined) throw unusable(origin, NO_SIDECAR);
  return reply;
}

/** Why no sidecar answered at its ops port, and what to do. */
function explainNoPort({ code = '', message }: NodeJS.ErrnoException, at: string): CommandError {
  if (code !== 'ECONNREFUSED') return broken(code || message);
  return new CommandError(`no sidecar answers at ${at}`, EXIT.unavailable, [
    'in Docker, ask inside its container: docker compose exec sidecar sidecar …',
    'it is at SIDECAR_OPS_HOST and SIDECAR_OPS_PORT, where the sidecar has them too',
  ]);
}

/** The answer of a sidecar; undefined: it is not from one. */
function replyOf({ status, text }: { readonly status: number; readonly text: string }) {
  const body = parseJson(text);
  return typeof body === 'object' && body !== null ? { status, body } : undefined;
}

/** Without the text, which may hold anything. */
const NO_SIDECAR = 'what listens there is no sidecar: it does not answer in json';

async function callSocket(
  state: string,
  call: AdminQuestion,
  timeoutMs: number,
): Promise<AdminReply> {
  const socket = join(state, 'admin.sock');
  try {
    const reached = await reachSocket(socket);
    try {
      const reply = replyOf(await exchange({ socketPath: reached.path }, call, timeoutMs));
      if (reply !== undefined) return reply;
    } finally {
      await reached.close();
    }
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw explainUnanswered(error as NodeJS.ErrnoException, state, socket);
  }
  throw unusable(socket, NO_SIDECAR);
}

function exchange(
  place: { readonly socketPath: string } | { readonly host: string; readonly port: string },
  call: AdminQuestion,
  timeoutMs: number,
): Promise<{ readonly status: number; readonly text: string }> {
  const { method, path, signal } = call;
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  const length = body === undefined ? 0 : Buffer.byteLength(body);
  const headers = {
    ...call.headers,
    ...(body !== undefined && { 'content-type': 'application/json', 'content-length': length }),
  };
  return new Promise((resolve, reject) => {
    const options = { ...place, method, path, headers, agent: false, signal } as const;
    const sent = request(options, (response) => {
      const { statusCode: status = 0 } = response;
      readText(response).then((text) => resolve({ status, text }), reject);
    });
    sent.on('error', reject);
    sent.setTimeout(timeoutMs, () => {
      const message = `the sidecar does not answer: no answer within ${timeoutMs / 1000} s`;
      const hint = 'its log says what it does; sidecar status shows whether this was done';
      sent.destroy(new CommandError(message, EXIT.unavailable, [hint]));
    });
    sent.end(body);
  });
}

/** Why no sidecar answered, and what to do. */
export function explainUnanswered(
  { code = '', message }: NodeJS.ErrnoException,
  state: string,
  socket: string,
): CommandError {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
    case 'ENOTSOCK':
      return new CommandError(`no sidecar runs with the state folder ${state}`, EXIT.unavailable, [
        'start one: docker compose up -d, or npm start',
        'in Docker, ask inside its container: docker compose exec sidecar sidecar …',
        'if it keeps its state somewhere else, name that folder: SIDECAR_STATE',
      ]);
    case 'EACCES':
    case 'EPERM':
      return forbidden(socket, state);
    case 'ENAMETOOLONG':
    case 'EINVAL':
      return unusable(socket, code);
    default:
      return broken(code || message);
  }
}

const broken = (why: string): BrokenConnection =>
  new BrokenConnection(
    `the connection ended before the sidecar answered (${why})`,
    EXIT.unavailable,
    ['sidecar status shows whether it was done'],
  );

const unusable = (socket: string, why: string): CommandError =>
  new CommandError(`cannot talk to the sidecar at ${socket}: ${why}`, EXIT.failed);

function forbidden(socket: string, state: string): CommandError {
  const { name, uid } = currentUser();
  const owner = ownerOf(socket) ?? ownerOf(state);
  const whose = owner === undefined ? 'only the user that runs it' : `only its user (uid ${owner})`;
  const sudo = owner === undefined ? 'sudo -u <user>' : `sudo -u '#${owner}'`;
  return new CommandError(
    `${whose} may ask the sidecar, and this is ${name} (uid ${uid}): ${socket}`,
    EXIT.failed,
    [`${sudo} sidecar …`, 'in Docker: docker compose exec sidecar sidecar …'],
  );
}

function ownerOf(path: string): number | undefined {
  try {
    return statSync(path).uid;
  } catch {
    return undefined;
  }
}
