import { createContext } from 'preact';
import { useCallback, useContext, useEffect, useState } from 'preact/hooks';
import type { StatusView } from '../src/rotation/admin.ts';
import type { AdminRoute, AnswerOf } from '../src/servers/admin/endpoints.ts';
import { type Api, ApiProblem, type Sent, ServerLost } from './api.ts';

/** What every view gets. */
export interface ViewProps {
  /** The last answer of `GET /api/status`, which the page asks for again and again. */
  readonly status: StatusView;
  /** Asks for it now: something has changed. */
  readonly refresh: () => void;
}

interface Session {
  readonly api: Api;
  /** Whether the server answers. */
  readonly isThere: boolean;
}

export const SessionContext = createContext<Session | undefined>(undefined);

/** The way to the sidecar, below a page that somebody has opened with its token. */
export function useSession(): Session {
  const session = useContext(SessionContext);
  if (session === undefined) throw new Error('no session around this view');
  return session;
}

interface Polled<T> {
  /** The last answer that came; it stays while none comes. */
  readonly answer: T | undefined;
  /** Why the last question got none; a lost server is told of by the page itself. */
  readonly problem: ApiProblem | undefined;
  readonly refresh: () => void;
}

/**
 * Asks a route again and again, while the page is seen and the server is there.
 *
 * @param everyMs milliseconds; longer where answers are slow: they cost 5 % of a core at most
 */
export function usePolled<R extends AdminRoute>(
  route: R,
  sent: Pick<Sent<R>, 'target' | 'query'> = {},
  everyMs = 5000,
): Polled<AnswerOf<R>> {
  const { api, isThere } = useSession();
  const [answer, setAnswer] = useState<AnswerOf<R>>();
  const [problem, setProblem] = useState<ApiProblem>();
  const [round, setRound] = useState(0);
  const { target, query } = sent;
  // Two questions are the same if they read the same.
  const question = JSON.stringify({ target, query });

  // Another round begins by its number.
  useEffect(() => {
    if (!isThere) return;
    const asked = JSON.parse(question) as Pick<Sent<R>, 'target' | 'query'>;
    return whileSeen(everyMs, setProblem, async (signal) => {
      setAnswer(await api.call(route, { ...asked, signal }));
    });
  }, [api, isThere, route, question, everyMs, round]);

  const refresh = useCallback(() => setRound((last) => last + 1), []);
  return { answer, problem, refresh };
}

/**
 * Asks something now and again and again, but not while nobody sees the page.
 *
 * @param tell told each time why nothing came; undefined: it did
 * @returns ends it
 */
export function whileSeen(
  everyMs: number,
  tell: (problem: ApiProblem | undefined) => void,
  ask: (signal: AbortSignal) => Promise<void>,
): () => void {
  const ended = new AbortController();
  const { signal } = ended;
  let timer = 0;
  const next = async (): Promise<void> => {
    clearTimeout(timer);
    if (document.hidden) return;
    const began = performance.now();
    try {
      await ask(signal);
      if (!signal.aborted) tell(undefined);
    } catch (error) {
      if (error instanceof ApiProblem) tell(error);
      else if (!(error instanceof ServerLost) && !signal.aborted) throw error;
    }
    if (signal.aborted) return;
    clearTimeout(timer);
    const took = performance.now() - began;
    timer = window.setTimeout(() => void next(), Math.max(everyMs, 20 * took));
  };
  document.addEventListener('visibilitychange', () => void next(), { signal });
  void next();
  return () => {
    ended.abort();
    clearTimeout(timer);
  };
}
