import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { HandoverView, SaltKeyView, UpstreamView } from '../handover/views.ts';
import type { Scope } from '../keyring/keyring.ts';
import type { ChangeView, ClientView, RotateView, StatusView, WhoView } from '../rotation/admin.ts';
import { reachSocket } from '../servers/admin/socket.ts';
import { oneLine } from '../text/safe.ts';
import type { Time } from './settings.ts';
import { CommandError, EXIT, type ExitCode, say, type Terminal } from './terminal.ts';

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

/** The sidecar said no, and changed nothing. */
export class AdminRefusal extends CommandError {
  /** A word for programs, such as `in_use`. */
  readonly code: string;
  /** As it came, for `--json`. */
  readonly document: object;
  /** Of `in_use`: who would break. */
  readonly who: WhoView | undefined;
  /** Of `handover_under_way`: which. */
  readonly handover: HandoverView | undefined;

  constructor(code: string, message: string, document: object, hints: readonly string[]) {
    super(message, exitCodeOf(code), hints, mistakesIn(document));
    this.code = code;
    this.document = document;
    this.who = Reflect.get(document, 'who') as WhoView | undefined;
    this.handover = Reflect.get(document, 'handover') as HandoverView | undefined;
  }
}

/** What was asked for is wrong, rather than not possible now. */
const USAGE = /^(?:unknown_|bad_)/;

/** It is there, and not for long or not yet. */
const AWAY = ['starting', 'stopping', 'stopping_upstream'];

function exitCodeOf(code: string): ExitCode {
  if (USAGE.test(code)) return EXIT.usage;
  if (code === 'store_unavailable' || code === 'state_unavailable') return EXIT.cannotCreate;
  return AWAY.includes(code) ? EXIT.unavailable : EXIT.failed;
}

const textIn = (document: object, name: string): string | undefined => {
  const value: unknown = Reflect.get(document, name);
  return typeof value === 'string' ? oneLine(value) : undefined;
};

const textsIn = (document: object, name: string): readonly string[] => {
  const value: unknown = Reflect.get(document, name);
  const texts = Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
  return texts.map((each) => oneLine(each));
};

const mistakesIn = (document: object): readonly string[] => textsIn(document, 'mistakes');

/** An answer that is a problem (RFC 9457). */
export function refusalOf({ status, body }: Reply): AdminRefusal {
  const code = textIn(body, 'code') ?? '';
  const detail = textIn(body, 'detail') ?? textIn(body, 'title') ?? `it answered ${status}`;
  const hints = [...textsIn(body, 'hints')];
  if (code === 'not_found' || code === 'method_not_allowed') {
    const hint = 'this command and the running sidecar are of different versions: restart it';
    return new AdminRefusal(code, detail, body, [hint]);
  }
  if (code === 'stopping' || code === 'stopping_upstream')
    hints.push('try again when it runs: sidecar status');
  if (code === 'handover_under_way') hints.push('sidecar upstream status shows how it goes on');
  return new AdminRefusal(code, detail, body, hints);
}

/** The person at the keyboard; a container's user may have no name. */
export function currentUser(): { readonly name: string; readonly uid: number } {
  try {
    const { username, uid } = userInfo();
    return { name: username, uid };
  } catch {
    const uid = process.getuid?.() ?? -1;
    return { name: `uid-${uid}`, uid };
  }
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

export interface RotateBody {
  /** `24h`; undefined: the sidecar's own setting. */
  readonly grace: string | undefined;
  readonly compromised: boolean;
  readonly force: boolean;
}

export interface NewClientBody {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** `90d`, from now. */
  readonly expires: string | undefined;
  readonly allowFrom: readonly string[];
}

export interface RevokeBody {
  readonly force: boolean;
  readonly compromised: boolean;
}

/** The admin API of the sidecar that runs with a state folder. Each verb throws `CommandError`. */
export interface AdminClient {
  status(): Promise<StatusView>;
  clients(): Promise<{ readonly clients: readonly ClientView[] }>;
  client(name: string): Promise<ClientView>;
  addClient(body: NewClientBody): Promise<RotateView>;
  removeClient(name: string, force: boolean): Promise<ChangeView>;
  rotate(client: string, body: RotateBody): Promise<RotateView>;
  rollback(client: string): Promise<ChangeView>;
  disable(client: string): Promise<ChangeView>;
  enable(client: string): Promise<ChangeView>;
  revoke(generation: string, body: RevokeBody): Promise<ChangeView>;
  who(generation: string, signal?: AbortSignal): Promise<WhoView>;
  upstream(): Promise<UpstreamView>;
  handovers(): Promise<{ readonly handovers: readonly HandoverView[] }>;
  handover(id: string, signal?: AbortSignal): Promise<HandoverView>;
  /** Begins it. */
  rotateUpstream(): Promise<HandoverView>;
  reloadUpstream(dryRun: boolean): Promise<HandoverView>;
  saltKey(): Promise<SaltKeyView>;
}

export interface AdminClientOptions {
  /** Absolute. */
  readonly state: string;
  /** The OS user, for the audit. */
  readonly actor: string;
  readonly time: Time;
  /** Told once, when the sidecar has to be waited for. */
  readonly onStarting: (waitMs: number) => void;
  /** Of one answer; the default is a minute. */
  readonly timeoutMs?: number;
}

/** A rotation writes to its publish targets before it answers, and a network disk may be slow. */
const ANSWER_WITHIN_MS = 60_000;
const STARTS_WITHIN_MS = 10_000;
const LOOK_AGAIN_MS = 250;
/** Before the one retry: what broke the connection may be a restart. */
const RETRY_AFTER_MS = 500;

interface Ask extends Partial<Pick<Call, 'body' | 'signal'>> {
  /** Sent again where the connection broke: it is a question, or it carries its own key. */
  readonly again: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

type Asking = <T>(method: Call['method'], path: string, how: Ask) => Promise<T>;

/** Asks, and waits for a sidecar that starts. */
function createAsking(options: AdminClientOptions): Asking {
  const { state, time, timeoutMs = ANSWER_WITHIN_MS } = options;
  const socket = join(state, 'admin.sock');
  const actor = options.actor.replaceAll(/[^\x21-\x7e]/g, '?');

  const answered = async (call: Call, again: boolean): Promise<Reply> => {
    try {
      return await callSocket(socket, call, timeoutMs);
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      if (error.kind !== 'broken' || !again || call.signal?.aborted)
        throw explainUnanswered(error, state, socket);
      await time.sleep(RETRY_AFTER_MS);
      return await answered(call, false);
    }
  };

  return async <T>(method: Call['method'], path: string, how: Ask): Promise<T> => {
    const { again, body, signal, headers } = how;
    const call = { method, path, body, signal, headers: { 'x-sidecar-actor': actor, ...headers } };
    for (let waited = 0; ; waited += LOOK_AGAIN_MS) {
      const reply = await answered(call, again);
      if (reply.status < 300) return reply.body as T;
      const refusal: AdminRefusal = refusalOf(reply);
      if (refusal.code !== 'starting' || waited >= STARTS_WITHIN_MS) throw refusal;
      if (waited === 0) options.onStarting(STARTS_WITHIN_MS);
      await time.sleep(LOOK_AGAIN_MS);
    }
  };
}

export function createAdminClient(options: AdminClientOptions): AdminClient {
  const ask = createAsking(options);
  const get = <T>(path: string, signal?: AbortSignal): Promise<T> =>
    ask('GET', path, { again: true, ...(signal && { signal }) });
  /** Done twice it would be another thing, or a refusal: it is not sent again. */
  const post = <T>(path: string, body?: object): Promise<T> =>
    ask('POST', path, { again: false, ...(body && { body }) });
  const make = (path: string, body: object): Promise<RotateView> =>
    ask('POST', path, { again: true, body, headers: { 'idempotency-key': randomUUID() } });
  const ofClient = (name: string): string => `/api/clients/${encodeURIComponent(name)}`;
  const ofKey = (id: string): string => `/api/generations/${encodeURIComponent(id)}`;

  return {
    status: () => get('/api/status'),
    clients: () => get('/api/clients'),
    client: (name) => get(ofClient(name)),
    addClient: (body) => make('/api/clients', body),
    removeClient: (name, force) =>
      ask('DELETE', `${ofClient(name)}${force ? '?force=true' : ''}`, { again: false }),
    rotate: (client, body) => make(`${ofClient(client)}/rotate`, body),
    rollback: (client) => post(`${ofClient(client)}/rollback`),
    disable: (client) => post(`${ofClient(client)}/disable`),
    enable: (client) => post(`${ofClient(client)}/enable`),
    revoke: (generation, body) => post(`${ofKey(generation)}/revoke`, body),
    who: (generation, signal) => get(`${ofKey(generation)}/who`, signal),
    upstream: () => get('/api/upstream'),
    handovers: () => get('/api/upstream/handovers'),
    handover: (id, signal) => get(`/api/upstream/handovers/${encodeURIComponent(id)}`, signal),
    rotateUpstream: () => post('/api/upstream/rotate'),
    reloadUpstream: (dryRun) => post('/api/upstream/reload', { dryRun }),
    // Nothing is stored: another one is as good.
    saltKey: () => ask('POST', '/api/upstream/salt-key', { again: true }),
  };
}

/** What a command that asks the running sidecar works with. */
export interface AdminSession {
  readonly terminal: Terminal;
  readonly time: Time;
  readonly api: AdminClient;
}

/** Opens no connection: the first question does. */
export function openSession(terminal: Terminal, time: Time, state: string): AdminSession {
  const onStarting = (waitMs: number): void =>
    say(terminal, `the sidecar is starting; waiting for it, ${waitMs / 1000} s at most`);
  const { name: actor } = currentUser();
  const api = createAdminClient({ state, actor, time, onStarting });
  return { terminal, time, api };
}

/** One JSON document on stdout. C1 controls are escaped too: a terminal may obey them. */
export function writeJson({ stdout }: Terminal, document: unknown): void {
  const text = JSON.stringify(document, undefined, 2);
  stdout.write(`${escapeControls(text)}\n`);
}

export const escapeControls = (text: string): string =>
  text.replaceAll(/[\u007f-\u009f]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);

/** With `--json` a refusal is a document too; what it says goes to stderr in any case. */
export async function answering(
  terminal: Terminal,
  json: boolean,
  command: () => Promise<ExitCode>,
): Promise<ExitCode> {
  try {
    return await command();
  } catch (error) {
    if (json && error instanceof AdminRefusal) writeJson(terminal, error.document);
    throw error;
  }
}
