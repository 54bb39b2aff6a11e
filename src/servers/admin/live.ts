import type { IncomingMessage, ServerResponse } from 'node:http';
import type { UpstreamView } from '../../handover/views.ts';
import type { LiveBin, RefusedView } from '../../usage/live.ts';
import type { Problem } from './http.ts';

/**
 * What `GET /api/live` tells each second, as the data of a server-sent event. Whoever begins to
 * look makes the seconds of all others end early: what `second` counts is never told twice, nor
 * stands in a `history` that came before it.
 */
export interface LiveEvent {
  readonly at: string;
  /** In the first event alone: the last 15 minutes in bins of 5 s, without those that are empty. */
  readonly history?: readonly LiveBin[];
  /** What ended since the event before; in the first event nothing. */
  readonly second: LiveBin;
  readonly now: {
    readonly inFlight: number;
    readonly streams: number;
    readonly websockets: number;
    /** Requests that wait because LiteLLM is away. */
    readonly held: number;
  };
  /** As `/readyz` has it; `waitingFor` holds `stopping` while the sidecar drains. */
  readonly readiness: { readonly ready: boolean; readonly waitingFor: readonly string[] };
  readonly upstream: Pick<
    UpstreamView,
    'mode' | 'slots' | 'handover' | 'waiting' | 'verified' | 'config'
  >;
  /** Lines of the audit: where this rose, what was shown of keys and handovers is old. */
  readonly changes: number;
}

/** What the stream tells of, read when it is told. */
export interface LiveSources {
  /** What ended since the last `take`, until `rest`. */
  take(): LiveBin;
  rest(): void;
  history(): readonly LiveBin[];
  /** The last 100 requests that were refused, the latest first. */
  refused(): readonly RefusedView[];
  /** All else of an event. */
  read(): Omit<LiveEvent, 'history' | 'second'>;
}

const EVERY_MS = 1000;
/** Of the 32 connections that one address may have, the others stay for requests. */
const MOST_WATCHERS = 16;
/** Bytes that wait for a reader beside its first event, beyond which its stream ends. */
const MOST_WAITING = 1024 * 1024;

const HEAD = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  // nginx would gather the events.
  'x-accel-buffering': 'no',
} as const;

export type LiveStream = ReturnType<typeof createLiveStream>;

/** The live figures, once a second, and only while somebody looks. */
export function createLiveStream(sources: LiveSources) {
  /** Each with the bytes that may wait for it. */
  const watchers = new Map<ServerResponse, number>();
  let timer: NodeJS.Timeout | undefined;
  let stopping = false;

  const tick = (): LiveEvent => {
    const event: LiveEvent = { ...sources.read(), second: sources.take() };
    const text = frame(event);
    for (const [each, mayWait] of watchers) {
      // One that missed a second would show too little. It may come again, for a new history.
      if (each.writableLength >= mayWait) each.end();
      else if (!each.writableEnded) each.write(text);
    }
    return event;
  };
  const leave = (response: ServerResponse): void => {
    watchers.delete(response);
    if (watchers.size > 0) return;
    clearInterval(timer);
    timer = undefined;
    sources.rest();
  };
  return {
    refused: sources.refused,
    /** Answers with the stream, until its reader leaves; or says why not. */
    watch(request: IncomingMessage, response: ServerResponse): Problem | undefined {
      if (stopping) return { code: 'stopping', detail: 'the sidecar is stopping' };
      if (watchers.size >= MOST_WATCHERS) return tooMany;
      response.writeHead(200, HEAD);
      if (request.method === 'HEAD') {
        response.end();
        return undefined;
      }
      response.once('close', () => leave(response));
      const { second, ...rest } = tick();
      const nothing = { ...sources.take(), at: second.at };
      const first = frame({ ...rest, history: sources.history(), second: nothing });
      response.write(first);
      watchers.set(response, first.length + MOST_WAITING);
      timer ??= setInterval(tick, EVERY_MS).unref();
      return undefined;
    },
    /** Ends every stream, and begins none any more. */
    end(): void {
      stopping = true;
      for (const each of watchers.keys()) each.end();
    },
  };
}

/** JSON has no line feeds of its own. */
const frame = (event: LiveEvent): string => `data: ${JSON.stringify(event)}\n\n`;

const tooMany: Problem = {
  code: 'too_many_watchers',
  detail: `${MOST_WATCHERS} look at the live figures already`,
  hints: ['close a page that is open somewhere'],
};
