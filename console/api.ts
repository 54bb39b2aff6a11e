import type { AdminRoute, AnswerOf, SentOf } from '../src/servers/admin/endpoints.ts';
import type { Problem } from '../src/servers/admin/http.ts';

/** What a request to a route says, as a client writes it: `24h`. */
export interface Sent<R extends AdminRoute> {
  /** What `{name}` or `{id}` stands for. */
  readonly target?: string;
  readonly body?: SentOf<R, 'body'>;
  readonly query?: SentOf<R, 'query'>;
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
}

/** The sidecar's own no, as RFC 9457 writes it. Its texts may quote strangers: text, never HTML. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';
  readonly status: number;
  readonly problem: Problem;

  constructor(status: number, problem: Problem) {
    super(problem.detail);
    this.status = status;
    this.problem = problem;
  }
}

/** Nobody answered: the sidecar is away, or the way to it. Whether it did anything is unknown. */
export class ServerLost extends Error {
  override readonly name = 'ServerLost';
  constructor() {
    super('the sidecar does not answer');
  }
}

export interface ApiOptions {
  readonly token: string;
  /** The token is not taken (any more), for the reason that the sidecar gives. */
  readonly onRefused: (problem: ApiProblem) => void;
  /** The server was lost, or is there again. Told of changes alone. */
  readonly onThere: (there: boolean) => void;
}

export type Api = ReturnType<typeof createApi>;

/** How often a lost server is looked for, and how long each look may take. Milliseconds. */
const LOOK_EVERY_MS = 1000;
const LOOK_MS = 3000;
/** What is asked is there at once; a change may wait for a slow disk. Milliseconds. */
const PATIENCE_MS = { GET: 10_000, change: 40_000 } as const;
/** A report may read millions of rows, after others that were asked for before. Milliseconds. */
const REPORT_MS = 60_000;

/**
 * Asks the admin API of the server that this page came from. It ends by `close`; nothing is stored
 * but the token that it was given.
 */
export function createApi({ token, onRefused, onThere }: ApiOptions) {
  const clock = createServerClock();
  const presence = createPresence(onThere);
  const lost = (): ServerLost => {
    presence.lost();
    return new ServerLost();
  };

  /**
   * The answer to a request, once its head is there; its body may go on for ever.
   *
   * @throws ApiProblem where the sidecar refuses, ServerLost where nobody answers
   */
  const open = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${token}`);
    const asked = { cache: 'no-store', ...init, headers } as const;
    const answer = await fetch(path, asked).catch(() => undefined);
    // Who asked does not want the answer any more, and that says nothing of the server.
    if (answer === undefined && init.signal?.aborted) throw init.signal.reason;
    const problem = answer?.ok === false ? await problemIn(answer) : undefined;
    if (answer === undefined || problem === 'nobody') throw lost();
    presence.found();
    clock.noteDate(answer.headers.get('date'));
    if (problem === undefined) return answer;
    if (isShut(problem)) onRefused(problem);
    throw problem;
  };

  /** A request to a route of the admin API; rejects as `open` does. */
  const call = async <R extends AdminRoute>(route: R, sent: Sent<R> = {}): Promise<AnswerOf<R>> => {
    const { method, path } = addressOf(route, sent);
    const patience = AbortSignal.timeout(patienceFor(route));
    try {
      const signal = sent.signal ? AbortSignal.any([sent.signal, patience]) : patience;
      const answer = await open(path, { method, signal, ...contentOf(sent) });
      const document = (await answer.json()) as AnswerOf<R> & { now?: unknown };
      clock.noteNow(document.now);
      return document;
    } catch (error) {
      if (error instanceof ApiProblem || sent.signal?.aborted) throw error;
      // It hangs, or broke off in the middle.
      throw isReport(route) && patience.aborted ? tooLong() : lost();
    }
  };

  return {
    ...{ open, call },
    /** The sidecar's time, whatever this browser's clock says. Milliseconds since the epoch. */
    now: clock.now,
    /** Tells what time it is at the sidecar: an instant in ISO 8601 that has just come. */
    noteNow: clock.noteNow,
    /** How far this browser's clock is behind the sidecar's. Milliseconds. */
    behindMs: (): number => clock.now() - Date.now(),
    /** Looks for the server no more, and tells nothing any more. */
    close: presence.close,
  };
}

/** Whether the server answers. One that was lost is looked for until it is there again. */
function createPresence(onThere: ApiOptions['onThere']) {
  let isThere = true;
  let isClosed = false;
  const look = async (): Promise<void> => {
    const asked = { signal: AbortSignal.timeout(LOOK_MS), cache: 'no-store' } as const;
    const found = await fetch('livez', asked).catch(() => undefined);
    if (found?.ok) tell(true);
    else if (!isClosed) setTimeout(look, LOOK_EVERY_MS);
  };
  const tell = (there: boolean): void => {
    if (isClosed || isThere === there) return;
    isThere = there;
    onThere(there);
    if (!there) setTimeout(look, LOOK_EVERY_MS);
  };
  return {
    found: () => tell(true),
    lost: () => tell(false),
    close(): void {
      isClosed = true;
    },
  };
}

/** Counts on from the last instant that the sidecar named. */
function createServerClock() {
  let noted: { readonly at: number; readonly when: number } | undefined;
  const note = (at: number): void => {
    if (!Number.isNaN(at)) noted = { at, when: performance.now() };
  };
  return {
    now: (): number =>
      noted === undefined ? Date.now() : noted.at + performance.now() - noted.when,
    /** The field of that name is of whole seconds, and only better than nothing. */
    noteDate(date: string | null): void {
      if (noted === undefined && date !== null) note(Date.parse(date));
    },
    noteNow(now: unknown): void {
      if (typeof now === 'string') note(Date.parse(now));
    },
  };
}

const isReport = (route: AdminRoute): boolean => route === 'GET /api/usage';

function patienceFor(route: AdminRoute): number {
  if (isReport(route)) return REPORT_MS;
  return PATIENCE_MS[route.startsWith('GET ') ? 'GET' : 'change'];
}

/** That a report takes its time says nothing of the server. */
const tooLong = (): ApiProblem =>
  new ApiProblem(504, {
    ...{ code: 'failed', detail: `a report took longer than ${REPORT_MS / 1000} s` },
    hints: ['a shorter period is added up sooner'],
  });

function addressOf<R extends AdminRoute>(
  route: R,
  { target = '', query }: Sent<R>,
): { readonly method: string; readonly path: string } {
  const [method = '', pattern = ''] = route.split(' ');
  const path = pattern.slice(1).replace(/\{\w+\}/, encodeURIComponent(target));
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  const texts = pairs.map(([name, value]): [string, string] => [name, String(value)]);
  const search = new URLSearchParams(texts);
  return { method, path: pairs.length === 0 ? path : `${path}?${search}` };
}

function contentOf<R extends AdminRoute>({ body, idempotencyKey }: Sent<R>): RequestInit {
  const headers = {
    ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
    ...(body !== undefined && { 'content-type': 'application/json' }),
  };
  return { headers, body: body === undefined ? null : JSON.stringify(body) };
}

/** What a proxy answers with where the sidecar behind it does not (RFC 9110 §15.6.3 to 15.6.5). */
const NOBODY_BEHIND: readonly number[] = [502, 503, 504];

/** What stands in a refusal; one that is no problem document comes from somebody else. */
async function problemIn(answer: Response): Promise<ApiProblem | 'nobody'> {
  const { status, headers } = answer;
  const isProblem = headers.get('content-type')?.startsWith('application/problem+json');
  if (!isProblem && NOBODY_BEHIND.includes(status)) return 'nobody';
  const problem = isProblem ? ((await answer.json().catch(() => null)) as Problem | null) : null;
  const fallback = { code: 'failed', detail: `the answer was ${status}` } as const;
  return new ApiProblem(status, problem ?? fallback);
}

/** Whether the token opens nothing any more. */
const isShut = (refusal: ApiProblem): boolean =>
  refusal.status === 401 || refusal.problem.code === 'too_many_failures' || hasNoToken(refusal);

/** Whether a refusal is that of an ops port without a token: it has no such path, in plain text. */
export const hasNoToken = ({ status, problem }: ApiProblem): boolean =>
  status === 404 && problem.code === 'failed';
