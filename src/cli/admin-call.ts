import { type IncomingMessage, request } from 'node:http';
import { reachSocket } from '../servers/admin/socket.ts';

/** One request to the admin API, over its socket. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object | undefined;
  /** Ends it; it is `broken` then. */
  readonly signal?: AbortSignal | undefined;
}

export interface Reply {
  readonly status: number;
  /** Parsed JSON, always an object. */
  readonly body: object;
}

/** Why there is no answer. */
export class Unanswered extends Error {
  override readonly name = 'Unanswered';
  /**
   * `absent`: nobody listens; `forbidden`: not for this user; `broken`: the connection ended
   * before the answer; `silent`: none came in time; `unusable`: it can not even be tried.
   */
  readonly kind: 'absent' | 'forbidden' | 'broken' | 'silent' | 'unusable';

  constructor(kind: Unanswered['kind'], message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

/** By the code of a system error; everything else happened on an open connection. */
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
export async function callSocket(socket: string, call: Call, timeoutMs: number): Promise<Reply> {
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

function exchange(socketPath: string, call: Call, timeoutMs: number): Promise<Reply> {
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

async function readJson(response: IncomingMessage): Promise<Reply> {
  response.setEncoding('utf8');
  let text = '';
  for await (const piece of response) text += piece as string;
  const { statusCode: status = 0 } = response;
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === 'object' && body !== null) return { status, body };
  } catch {
    // Said below, without the text.
  }
  throw new Unanswered('unusable', 'what listens there is no sidecar: it does not answer in json');
}
