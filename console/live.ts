import { useEffect, useState } from 'preact/hooks';
import type { LiveEvent } from '../src/servers/admin/live.ts';
import { ApiProblem, ServerLost } from './api.ts';
import { afterEvent, createEventReader, type History } from './history.ts';
import { useSession } from './session.tsx';

/** What the live view knows. */
export interface Live {
  readonly history: History;
  readonly last: LiveEvent;
}

/** The sidecar tells something each second: after so long without, the stream is dead. */
const SILENCE_MS = 8000;
const AGAIN_MS = 1000;

/**
 * The live figures, while the page is seen and the server is there. They stay as they were while
 * nothing comes. A stream that breaks is opened again.
 */
export function useLive() {
  const { api, isThere } = useSession();
  const [live, setLive] = useState<Live>();
  const [problem, setProblem] = useState<ApiProblem>();
  useEffect(() => {
    if (!isThere) return undefined;
    const hear = (event: LiveEvent): void => {
      api.noteNow(event.at);
      setProblem(undefined);
      setLive((before) => ({ history: afterEvent(before?.history, event), last: event }));
    };
    const openLive = (signal: AbortSignal) => api.open('api/live', { signal });
    return beginWhenSeen((signal) => watch(openLive, signal, hear, setProblem));
  }, [api, isThere]);
  return { live, problem };
}

/** Begins something whenever the page is seen, and ends it when it is not; gives the end of all. */
function beginWhenSeen(begin: (signal: AbortSignal) => Promise<void>): () => void {
  let looking = new AbortController();
  const onChange = (): void => {
    looking.abort();
    looking = new AbortController();
    if (!document.hidden) void begin(looking.signal);
  };
  document.addEventListener('visibilitychange', onChange);
  onChange();
  return () => {
    document.removeEventListener('visibilitychange', onChange);
    looking.abort();
  };
}

/** Reads one stream after the other, until nobody looks or the server is lost. */
async function watch(
  open: (signal: AbortSignal) => Promise<Response>,
  signal: AbortSignal,
  hear: (event: LiveEvent) => void,
  onProblem: (problem: ApiProblem) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await readStream(open, signal, hear);
    } catch (error) {
      // Whoever finds the server again begins anew.
      if (signal.aborted || error instanceof ServerLost) return;
      if (error instanceof ApiProblem) onProblem(error);
    }
    await new Promise((wake) => setTimeout(wake, AGAIN_MS));
  }
}

/** Reads events until the stream ends or is silent for too long. */
async function readStream(
  open: (signal: AbortSignal) => Promise<Response>,
  outer: AbortSignal,
  hear: (event: LiveEvent) => void,
): Promise<void> {
  const silent = new AbortController();
  let timer = 0;
  const wait = (): void => {
    clearTimeout(timer);
    timer = window.setTimeout(() => silent.abort(), SILENCE_MS);
  };
  wait();
  try {
    const { body } = await open(AbortSignal.any([outer, silent.signal]));
    if (body === null) return;
    const read = createEventReader();
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      wait();
      for (const data of read(next.value)) hear(JSON.parse(data) as LiveEvent);
    }
  } catch (error) {
    if (error instanceof ApiProblem || error instanceof ServerLost) throw error;
    // A stream that broke off is a stream that ended.
  } finally {
    clearTimeout(timer);
  }
}
