import { statSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import type { Method } from '../servers/admin/endpoints.ts';
import { reachSocket } from '../store/socket-folder.ts';
import { parseJson } from '../text/safe.ts';
import { CommandError, currentUser, EXIT } from './terminal.ts';

/** One request to the admin API, over its socket. */
export interface SocketRequest {
  readonly method: Method;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object | undefined;
  /** Ends the request, which is `broken` then. */
  readonly signal?: AbortSignal | undefined;
}

export interface SocketReply {
  readonly status: number;
  /** The parsed JSON, always an object. */
  readonly body: object;
}

/** No answer came to a request. */
export class Unanswered extends Error {
  override readonly name = 'Unanswered';
  /**
   * `absent`: nobody listens; `forbidden`: not for this user; `broken`: the connection ended
   * before the answer; `silent`: none came in time; `unusable`: no request can be sent there, or
   * what answers is no sidecar.
   */
  readonly kind: 'absent' | 'forbidden' | 'broken' | 'silent' | 'unusable';

  constructor(kind: Unanswered['kind'], message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

/** By the code of a system error; one of any other code happened on an open connection. */
const KIND_OF: Readonly<Record<string, Unanswered['kind']>> = {
  ENOENT: 'absent',
  ENOTDIR: 'absent',
  ECONNREFUSED: 'absent',
  ENOTSOCK: 'absent',
  EACCES: 'forbidden',
  EPERM: 'forbidden',
  ENAMETOOLONG: 'unusable',
  EINVAL: 'unusable',
};

/** Sends one request and reads its answer. Throws `Unanswered`. */
export async function callSocket(
  socket: string,
  call: SocketRequest,
  timeoutMs: number,
): Promise<SocketReply> {
  try {
    const reached = await reachSocket(socket);
    try {
      return await exchange(reached.path, call, timeoutMs);
    } finally {
      await reached.close();
    }
  } catch (error) {
    if (error instanceof Unanswered) throw error;
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw new Unanswered(KIND_OF[code] ?? 'broken', code === '' ? message : code, error);
  }
}

function exchange(
  socketPath: string,
  call: SocketRequest,
  timeoutMs: number,
): Promise<SocketReply> {
  const { method, path, signal } = call;
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  const length = body === undefined ? 0 : Buffer.byteLength(body);
  const headers = {
    ...call.headers,
    ...(body !== undefined && { 'content-type': 'application/json', 'content-length': length }),
  };
  return new Promise((resolve, reject) => {
    const options = { socketPath, method, path, headers, agent: false, signal } as const;
    const sent = request(options, (response) => {
      readJson(response).then(resolve, reject);
    });
    sent.on('error', reject);
    sent.setTimeout(timeoutMs, () => {
      sent.destroy(new Unanswered('silent', `no answer within ${timeoutMs / 1000} s`));
    });
    sent.end(body);
  });
}

async function readJson(response: IncomingMessage): Promise<SocketReply> {
  response.setEncoding('utf8');
  let text = '';
  for await (const piece of response) text += piece as string;
  const { statusCode: status = 0 } = response;
  const body = parseJson(text);
  if (typeof body === 'object' && body !== null) return { status, body };
  // Without the text, which may hold anything.
  throw new Unanswered('unusable', 'what listens there is no sidecar: it does not answer in json');
}

/** Why no sidecar answered, and what to do. */
export function explainUnanswered(
  { kind, message }: Unanswered,
  state: string,
  socket: string,
): CommandError {
  switch (kind) {
    case 'absent':
      return new CommandError(`no sidecar runs with the state folder ${state}`, EXIT.unavailable, [
        'start one: docker compose up -d, or npm start',
        'in Docker, ask inside its container: docker compose exec sidecar sidecar …',
        'if it keeps its state somewhere else, name that folder: SIDECAR_STATE',
      ]);
    case 'forbidden':
      return forbidden(socket, state);
    case 'broken':
      return new CommandError(
        `the connection ended before the sidecar answered (${message})`,
        EXIT.unavailable,
        ['sidecar status shows whether it was done'],
      );
    case 'silent':
      return new CommandError(`the sidecar does not answer: ${message}`, EXIT.unavailable, [
        'its log says what it does; sidecar status shows whether this was done',
      ]);
    case 'unusable':
      return new CommandError(`cannot talk to the sidecar at ${socket}: ${message}`, EXIT.failed);
  }
}

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
