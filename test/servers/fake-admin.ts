import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import type { ConfigView } from '../../src/config/view.ts';
import type { UpstreamAdmin } from '../../src/handover/contracts.ts';
import type { HandoverView, SaltKeyView, UpstreamView } from '../../src/handover/views.ts';
import type {
  Actor,
  ChangeView,
  ClientView,
  GenerationView,
  KeyAdmin,
  RotateView,
  StatusView,
  WhoView,
} from '../../src/rotation/admin.ts';
import type { AuditReader, UsageTeller } from '../../src/servers/admin/api.ts';
import {
  createLiveStream,
  type LiveEvent,
  type LiveSources,
} from '../../src/servers/admin/live.ts';
import { createLiveRecorder } from '../../src/usage/live.ts';
import type { UsageReport } from '../../src/usage/report.ts';

const AT = '2026-11-24T10:00:00.000Z';
export const KEY = 'sk-made-by-the-fake-admin-000000000000000000000000000';

export const GENERATION: GenerationView = {
  id: 'master-1',
  client: 'master',
  state: 'active',
  origin: 'made',
  createdAt: AT,
  publishedAt: AT,
  graceMs: null,
  validUntil: null,
  clockStarted: false,
  firstUsedAt: null,
  lastUsedAt: null,
  uses: 0,
  recentCallers: 0,
  inFlight: 0,
};
export const CLIENT: ClientView = {
  name: 'master',
  scopes: ['full'],
  allowFrom: [],
  namesEndUsers: false,
  limits: null,
  use: null,
  models: [],
  unlistedModels: [],
  inFile: false,
  createdAt: AT,
  expiresAt: null,
  state: 'enabled',
  generations: [GENERATION],
  tombstones: 0,
  publish: [],
  nextRotationAt: null,
};
export const CONFIG: ConfigView = {
  settings: [
    {
      ...{ name: 'SIDECAR_GRACE', secret: false, value: '24h', set: true, origin: '.env' },
      restart: { value: '48h', set: true, origin: '.env' },
    },
  ],
  envFile: '/config/.env',
  mistakes: null,
};
export const STATUS: StatusView = {
  now: AT,
  version: '0.1.0',
  startedAt: AT,
  clients: [CLIENT],
  store: { kept: true, up: true, error: null },
  rotateEveryMs: null,
  warnings: [],
  next: [],
};
export const WHO: WhoView = {
  generation: GENERATION,
  client: { state: 'enabled', expiresAt: null },
  callers: [],
};
export const ROTATED: RotateView = {
  client: 'master',
  generation: GENERATION,
  previous: [],
  publish: [],
  key: KEY,
  replayed: false,
  clientState: 'enabled',
  cut: 0,
};
export const CHANGED: ChangeView = { client: CLIENT, cut: 0, notes: [] };

export interface FakeAdmin extends KeyAdmin {
  /** Verb and arguments of each call that was made, in order. */
  readonly calls: readonly (readonly [verb: string, ...args: unknown[]])[];
}

/** Answers every verb with one view, notes what it was asked, and does what `changes` says. */
export function fakeAdmin(changes: Partial<KeyAdmin> = {}): FakeAdmin {
  const calls: [string, ...unknown[]][] = [];
  const note = <T>(verb: string, args: readonly unknown[], view: T): T => {
    calls.push([verb, ...args]);
    return view;
  };
  const change =
    (verb: string) =>
    (client: string, by: Actor): Promise<ChangeView> =>
      Promise.resolve(note(verb, [client, by], CHANGED));
  return {
    calls,
    status: () => note('status', [], STATUS),
    clients: () => note('clients', [], [CLIENT]),
    client: (name) => note('client', [name], CLIENT),
    clientsFile: () => note('clientsFile', [], { clients: [], leftOut: [] }),
    who: (generation) => note('who', [generation], WHO),
    comebacks: () => note('comebacks', [], [WHO]),
    rotate: (request, by) => Promise.resolve(note('rotate', [request, by], ROTATED)),
    addClient: (request, by) => Promise.resolve(note('addClient', [request, by], ROTATED)),
    revoke: (request, by) => Promise.resolve(note('revoke', [request, by], CHANGED)),
    setClient: (request, by) => Promise.resolve(note('setClient', [request, by], CHANGED)),
    rollback: (client, from, by) => Promise.resolve(note('rollback', [client, from, by], CHANGED)),
    disable: change('disable'),
    enable: change('enable'),
    remove: (client, force, by) => Promise.resolve(note('remove', [client, force, by], CHANGED)),
    ...changes,
  };
}

export const HANDOVER: HandoverView = {
  id: 'handover-12',
  kind: 'rotate',
  by: 'cli:alice',
  state: 'staged',
  from: 'a',
  to: 'b',
  startedAt: AT,
  stateSince: AT,
  endedAt: null,
  switchedAt: null,
  waitsFor: null,
  fault: null,
  models: null,
  cut: 0,
};
export const UPSTREAM: UpstreamView = {
  now: AT,
  mode: 'slots',
  slots: [],
  handover: HANDOVER,
  waiting: null,
  last: null,
  verified: true,
  keyMadeAt: AT,
  rotateEveryMs: null,
  nextRotationAt: null,
  config: 'current',
  autoReload: false,
  configWaitsUntil: null,
  database: null,
  saltKeySet: false,
  keyChange: null,
  warnings: [],
  next: [],
};
export const LIVE: Omit<LiveEvent, 'history' | 'second'> = {
  at: AT,
  now: { inFlight: 3, streams: 2, websockets: 1, held: 0 },
  readiness: { ready: true, waitingFor: [] },
  upstream: {
    ...{ mode: UPSTREAM.mode, slots: [], handover: HANDOVER, waiting: null },
    ...{ verified: true, config: 'current' },
  },
  changes: 7,
};

/** The stream as it is, of a recorder that nobody feeds. */
export const fakeLive = (changes: Partial<LiveSources> = {}) =>
  createLiveStream({
    ...createLiveRecorder({ now: () => Date.parse(AT), elapsed: () => 0 }),
    read: () => LIVE,
    ...changes,
  });

export const SALT: SaltKeyView = { saltKey: 'the-salt-key-of-the-fake' };

export interface FakeUpstream extends UpstreamAdmin {
  readonly calls: readonly (readonly [verb: string, ...args: unknown[]])[];
}

/** The same for LiteLLM. */
export function fakeUpstream(changes: Partial<UpstreamAdmin> = {}): FakeUpstream {
  const calls: [string, ...unknown[]][] = [];
  const noting =
    <A extends unknown[], T>(verb: string, view: T) =>
    (...args: A): T => {
      calls.push([verb, ...args]);
      return view;
    };
  return {
    calls,
    status: noting('status', UPSTREAM),
    history: noting('history', [HANDOVER]),
    handover: noting('handover', HANDOVER),
    rotate: noting('rotate', Promise.resolve(HANDOVER)),
    reload: noting('reload', Promise.resolve(HANDOVER)),
    saltKey: noting('saltKey', Promise.resolve(SALT)),
    ...changes,
  };
}

export const fakeAudit = (): AuditReader & { readonly asked: [number, number][] } => {
  const asked: [number, number][] = [];
  return {
    asked,
    read(after, limit) {
      asked.push([after, limit]);
      const line = { seq: 1, at: AT, by: 'cli:alice', action: 'rotated', prev: '' };
      return Promise.resolve({ lines: [line], count: 1 });
    },
    verify: () => Promise.resolve({ ok: true, count: 1 } as never),
  };
};

export const USAGE: UsageReport = {
  ...{ by: 'client', client: null, model: null, since: AT, until: AT, rows: [] },
  total: {
    ...{ requests: 0, refusals: 0, errors: 0, metered: 0, unmetered: 0, unpriced: 0 },
    tokens: { input: 0, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 },
    costUsd: 0,
  },
  store: { up: true, error: null, lastWrittenAt: null, pendingRows: 0 },
};

export const fakeUsage = (view = USAGE): UsageTeller & { readonly asked: unknown[] } => {
  const asked: unknown[] = [];
  return {
    asked,
    report(question) {
      asked.push(question);
      return Promise.resolve(view);
    },
    save() {
      asked.push('save');
      return Promise.resolve(USAGE.store);
    },
  };
};

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

export type Place = { readonly port: number } | { readonly socketPath: string };

export interface Ask {
  readonly headers?: Readonly<Record<string, string>>;
  /** An object goes as JSON with its type; text and bytes go as they are. */
  readonly body?: object | string | Uint8Array;
}

/** One request on a connection of its own; `route` is `GET /api/status`. */
export function ask(place: Place, route: string, { headers = {}, body }: Ask = {}): Promise<Reply> {
  const [method = '', path = ''] = route.split(' ');
  const isJson = typeof body === 'object' && !(body instanceof Uint8Array);
  const bytes = isJson ? JSON.stringify(body) : body;
  const type = isJson ? { 'content-type': 'application/json' } : {};
  const length =
    bytes === undefined || 'transfer-encoding' in headers
      ? {}
      : { 'content-length': String(Buffer.byteLength(bytes)) };
  return new Promise((resolve, reject) => {
    const host = '127.0.0.1';
    const request = httpRequest({
      ...('port' in place ? { host, ...place } : place),
      method,
      path,
      agent: false,
      headers: { ...type, ...length, ...headers },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const isAnyJson = /json/.test(response.headers['content-type'] ?? '') && text !== '';
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: isAnyJson ? JSON.parse(text) : {},
        });
      });
    });
    request.end(bytes);
  });
}

/** Sends bytes as they are and gives back all that comes until the connection ends. */
export const askRaw = (place: Place, bytes: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let got = '';
    const to = 'port' in place ? { ...place, host: '127.0.0.1' } : { path: place.socketPath };
    const socket = connect(to, () => socket.write(bytes));
    socket.on('data', (chunk) => {
      got += chunk.toString();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(got));
  });
