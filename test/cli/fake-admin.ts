import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommandLine } from '../../src/cli/program.ts';
import type { Input, Time } from '../../src/cli/terminal.ts';
import type {
  ChangeView,
  ClientView,
  GenerationView,
  RotateView,
  StatusView,
  WhoView,
} from '../../src/rotation/admin.ts';
import { capturedTerminal, type Looked } from './captured-terminal.ts';

/** What the command line asked for. */
export interface Asked {
  /** `POST /api/clients/master/rotate` */
  readonly what: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
}

/** A status and a document; or whatever the test does with the response. */
export type Reply =
  | readonly [status: number, document: unknown]
  | ((response: ServerResponse) => void);

/** A state folder with an admin socket that answers as the test says. */
export async function startFakeAdmin(answer: (asked: Asked, nth: number) => Reply) {
  const cwd = mkdtempSync(join(tmpdir(), 'sidecar-cli-'));
  const state = join(cwd, 'state');
  mkdirSync(state);
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (piece: string) => {
      text += piece;
    });
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      const one = { what: `${method} ${url}`, headers, body: text ? JSON.parse(text) : undefined };
      asked.push(one);
      const reply = answer(one, asked.length);
      if (typeof reply === 'function') return reply(response);
      const [status, document] = reply;
      const type = status < 300 ? 'application/json' : 'application/problem+json';
      response.writeHead(status, { 'content-type': type }).end(JSON.stringify(document));
      return undefined;
    });
  });
  await new Promise<void>((resolve) => server.listen(join(state, 'admin.sock'), resolve));
  return {
    cwd,
    state,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(cwd, { recursive: true, force: true });
    },
  };
}

/** 2026-11-24 14:03:10 UTC */
export const NOW = Date.UTC(2026, 10, 24, 14, 3, 10);
export const ago = (ms: number): string => new Date(NOW - ms).toISOString();
export const ahead = (ms: number): string => ago(-ms);
export const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];

/** Time that passes only while somebody sleeps. */
export function fakeTime(start = NOW) {
  let now = start;
  const slept: number[] = [];
  const time: Time = {
    now: () => now,
    async sleep(ms) {
      slept.push(ms);
      now += ms;
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
  return { time, slept };
}

export interface RunOptions {
  readonly stdin?: () => Input;
  readonly env?: Readonly<Record<string, string>>;
  readonly looked?: Looked;
  readonly time?: Time;
  readonly interrupts?: () => AbortSignal;
}

/** Runs a command line in a folder; without `interrupts`, asking for Ctrl-C is a mistake. */
export async function runIn(cwd: string, line: string, options: RunOptions = {}) {
  const { env = {}, looked, time = fakeTime().time } = options;
  const never = (): AbortSignal => new AbortController().signal;
  const { terminal, written } = capturedTerminal(env, cwd, looked, options.stdin);
  const args = line.split(' ');
  const code = await runCommandLine(terminal, args, options.interrupts ?? never, time);
  return { code, ...written };
}

/** Runs a command line against a sidecar that gives one answer, or as the test decides. */
export async function runAgainst(
  answer: readonly [status: number, document: unknown] | ((asked: Asked, nth: number) => Reply),
  line: string,
  options: RunOptions = {},
) {
  await using admin = await startFakeAdmin(typeof answer === 'function' ? answer : () => answer);
  const result = await runIn(admin.cwd, line, options);
  return { ...result, asked: admin.asked, state: admin.state };
}

export const problem = (status: number, code: string, detail: string, more: object = {}) =>
  [status, { type: 'about:blank', title: 'No', status, detail, code, hints: [], ...more }] as const;

/** A sidecar that is about to end, and one that ends before its answer. */
export const stopping = problem(503, 'stopping', 'the sidecar is stopping');
export const cut: Reply = (response) => response.destroy();

/** ECMA-48's cursor up, back to the first column: where each redraw of live lines begins. */
export const CURSOR_UP = new RegExp(`${String.fromCharCode(27)}\\[(?=\\d+A\\r)`);

export function generation(over: Partial<GenerationView> = {}): GenerationView {
  return {
    id: 'master-3',
    client: 'master',
    state: 'active',
    origin: 'made',
    createdAt: ago(2 * HOUR),
    publishedAt: ago(2 * HOUR),
    graceMs: null,
    validUntil: null,
    clockStarted: false,
    firstUsedAt: ago(2 * HOUR),
    lastUsedAt: ago(4 * SECOND),
    uses: 1204,
    recentCallers: 2,
    inFlight: 0,
    ...over,
  };
}

export const retiring = (over: Partial<GenerationView> = {}): GenerationView =>
  generation({
    id: 'master-2',
    state: 'retiring',
    createdAt: ago(32 * DAY),
    graceMs: DAY,
    validUntil: ahead(23 * HOUR + 10 * MINUTE),
    clockStarted: true,
    firstUsedAt: ago(DAY),
    lastUsedAt: ago(90 * SECOND),
    recentCallers: 1,
    ...over,
  });

export const client = (over: Partial<ClientView> = {}): ClientView => ({
  name: 'master',
  scopes: ['full'],
  allowFrom: [],
  namesEndUsers: false,
  limits: null,
  use: null,
  models: [],
  unlistedModels: [],
  inFile: false,
  createdAt: ago(90 * DAY),
  expiresAt: null,
  state: 'enabled',
  generations: [generation(), retiring()],
  tombstones: 0,
  publish: [
    { target: 'file:/state/keys/master', state: 'published', error: null, nextTryAt: null },
  ],
  nextRotationAt: null,
  ...over,
});

export const statusView = (over: Partial<StatusView> = {}): StatusView => ({
  now: new Date(NOW).toISOString(),
  version: '0.2.0',
  startedAt: ago(5 * DAY),
  clients: [client()],
  store: { kept: true, up: true, error: null },
  rotateEveryMs: null,
  warnings: [],
  next: [],
  ...over,
});

export const rotateView = (over: Partial<RotateView> = {}): RotateView => ({
  client: 'master',
  generation: generation({ createdAt: ago(0), lastUsedAt: null, uses: 0, recentCallers: 0 }),
  previous: [retiring({ clockStarted: false, validUntil: ahead(30 * DAY) })],
  publish: [
    { target: 'file:/state/keys/master', state: 'published', error: null, nextTryAt: null },
  ],
  key: 'sk-the-new-key-that-only-json-may-show',
  replayed: false,
  clientState: 'enabled',
  cut: 0,
  ...over,
});

export const changeView = (over: Partial<ChangeView> = {}): ChangeView => ({
  client: client({ generations: [generation()] }),
  cut: 0,
  notes: [],
  ...over,
});

export const whoView = (over: Partial<WhoView> = {}): WhoView => ({
  generation: retiring(),
  client: { state: 'enabled', expiresAt: null },
  callers: [
    {
      address: '10.0.0.7',
      userAgent: 'OpenAI/Python 1.99.1',
      firstSeenAt: ago(3 * DAY),
      lastSeenAt: ago(12 * SECOND),
      count: 1192,
    },
    {
      address: '2001:db8::7',
      userAgent: '',
      firstSeenAt: ago(12 * MINUTE),
      lastSeenAt: ago(11 * MINUTE),
      count: 12,
    },
  ],
  ...over,
});
