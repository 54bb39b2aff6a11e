import { randomUUID } from 'node:crypto';
import type { HandoverView } from '../handover/views.ts';
import type { WhoView } from '../rotation/admin.ts';
import {
  type AdminRoute,
  type AnswerOf,
  ENDPOINTS,
  type Endpoint,
  type Method,
  type SentOf,
} from '../servers/admin/endpoints.ts';
import { fieldOf, oneLine } from '../text/safe.ts';
import type { AdminQuestion, AdminReply } from './admin-door.ts';
import type { Door } from './settings.ts';
import { CommandError, EXIT, type ExitCode, type Time } from './terminal.ts';

/** What fills the place in a path: `{ name }` for `/api/clients/{name}`. */
type Names<R extends AdminRoute> = R extends `${string}{${infer Name}}${string}`
  ? { readonly [N in Name]: string }
  : unknown;

/** A body or a query, where the route takes one; it may be left out where all of it may. */
type Part<R extends AdminRoute, Name extends 'body' | 'query'> =
  SentOf<R, Name> extends Readonly<Record<string, never>>
    ? unknown
    : object extends SentOf<R, Name>
      ? { readonly [N in Name]?: SentOf<R, Name> }
      : { readonly [N in Name]: SentOf<R, Name> };

/** What a question to a route holds. An aborted signal ends it; there is no answer then. */
type Question<R extends AdminRoute> = Names<R> &
  Part<R, 'body'> &
  Part<R, 'query'> & { readonly signal?: AbortSignal };

/**
 * Asks the running sidecar; routes, bodies and answers are those of the table
 * of its admin API, `servers/admin/endpoints.ts`. Throws `CommandError`.
 */
export type AdminClient = <R extends AdminRoute>(
  route: R,
  ...question: object extends Question<R> ? [question?: Question<R>] : [question: Question<R>]
) => Promise<AnswerOf<R>>;

interface AdminClientOptions {
  readonly door: Door;
  /** The user at the keyboard, for the audit. */
  readonly actor: string;
  readonly time: Time;
  /** Told once, when the sidecar has to be waited for. */
  readonly onStarting: (waitMs: number) => void;
  /** How long one answer may take; the default is a minute. */
  readonly timeoutMs?: number;
}

/** A rotation writes to its publish targets before it answers, and a network disk may be slow. */
const ANSWER_WITHIN_MS = 60_000;
const STARTS_WITHIN_MS = 10_000;
const LOOK_AGAIN_MS = 250;
/** Before the one retry: what broke the connection may be a restart. */
const RETRY_AFTER_MS = 500;

export function createAdminClient(options: AdminClientOptions): AdminClient {
  const { door, time, timeoutMs = ANSWER_WITHIN_MS } = options;
  const actor = options.actor.replaceAll(/[^\x21-\x7e]/g, '?');

  const answered = async (request: AdminQuestion, again: boolean): Promise<AdminReply> => {
    // Loaded with the first question: `sidecar --help` needs no HTTP.
    const { BrokenConnection, callSidecar } = await import('./admin-door.ts');
    try {
      return await callSidecar(door, request, timeoutMs);
    } catch (error) {
      if (!(error instanceof BrokenConnection) || !again || request.signal?.aborted) throw error;
      await time.sleep(RETRY_AFTER_MS);
      return await answered(request, false);
    }
  };

  return async <R extends AdminRoute>(route: R, question: AnyQuestion = {}) => {
    const { again, ...request } = requestOf(route, question, actor);
    for (let waited = 0; ; waited += LOOK_AGAIN_MS) {
      const reply = await answered(request, again);
      if (reply.status < 300) return reply.body as AnswerOf<R>;
      const refusal = refusalOf(reply);
      if (refusal.code !== 'starting' || waited >= STARTS_WITHIN_MS) throw refusal;
      if (waited === 0) options.onStarting(STARTS_WITHIN_MS);
      await time.sleep(LOOK_AGAIN_MS);
    }
  };
}

/** A question to any route; beside these fields it holds the names that its path wants. */
interface AnyQuestion {
  readonly body?: object;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal;
}

interface AnyRequest extends AdminQuestion {
  /**
   * Whether it may be sent a second time where the connection broke before the answer: the first
   * one may have been carried out, and most changes must not be made twice.
   */
  readonly again: boolean;
}

/** The HTTP request that asks a question, by the row of its route. */
function requestOf(
  route: AdminRoute,
  { body, query, signal, ...names }: AnyQuestion,
  actor: string,
): AnyRequest {
  const row: Endpoint = ENDPOINTS[route];
  const [method, pattern] = route.split(' ') as [Method, string];
  const path = pattern.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(String(Reflect.get(names, name))),
  );
  const parameters = new URLSearchParams(
    Object.entries(query ?? {}).filter((pair): pair is [string, string] => pair[1] !== undefined),
  ).toString();
  const headers = {
    'x-sidecar-actor': actor,
    ...(row.idempotencyKey && { 'idempotency-key': randomUUID() }),
  };
  return {
    method,
    path: parameters === '' ? path : `${path}?${parameters}`,
    ...{ body, signal, headers },
    again: method === 'GET' || row.idempotencyKey === true || row.repeatable === true,
  };
}

/** The sidecar refused, and changed nothing. */
export class AdminRefusal extends CommandError {
  /** A word for programs, such as `in_use`. */
  readonly code: string;
  /** The sidecar's answer as it came, for `--json`. */
  readonly document: object;
  /** Of `in_use`: who used the key, and would be refused. */
  readonly who: WhoView | undefined;
  /** Of `handover_under_way`: that handover. */
  readonly handover: HandoverView | undefined;

  constructor(code: string, message: string, document: object, hints: readonly string[]) {
    super(message, exitCodeOf(code), hints, textsIn(document, 'mistakes'));
    this.code = code;
    this.document = document;
    this.who = fieldOf(document, 'who') as WhoView | undefined;
    this.handover = fieldOf(document, 'handover') as HandoverView | undefined;
  }
}

/** The codes of a request that is wrong, rather than not possible now. */
const USAGE = /^(?:unknown_|bad_)/;

/** The codes of a sidecar that does not serve yet, or not for long. */
const AWAY = ['starting', 'stopping', 'stopping_upstream'];

function exitCodeOf(code: string): ExitCode {
  if (USAGE.test(code)) return EXIT.usage;
  if (code === 'store_unavailable' || code === 'state_unavailable') return EXIT.cannotCreate;
  return AWAY.includes(code) ? EXIT.unavailable : EXIT.failed;
}

const textIn = (document: object, name: string): string | undefined => {
  const value = fieldOf(document, name);
  return typeof value === 'string' ? oneLine(value) : undefined;
};

const textsIn = (document: object, name: string): readonly string[] => {
  const value = fieldOf(document, name);
  const texts = Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
  return texts.map((each) => oneLine(each));
};

/** The refusal that an answer tells of: a problem (RFC 9457). */
function refusalOf({ status, body }: AdminReply): AdminRefusal {
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
