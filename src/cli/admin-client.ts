import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { HandoverView, SaltKeyView, UpstreamView } from '../handover/views.ts';
import type { Scope } from '../keyring/keyring.ts';
import type { ChangeView, ClientView, RotateView, StatusView, WhoView } from '../rotation/admin.ts';
import { type Call, callSocket, type Reply, Unanswered } from './admin-call.ts';
import { type AdminRefusal, explainUnanswered, refusalOf } from './admin-refusal.ts';
import type { Time } from './time.ts';

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
