import { duration } from './duration.ts';
import { integer } from './plain-kinds.ts';
import type { Settings } from './setting.ts';
import { size } from './size.ts';

/** Of the table of settings: the limits of a request, and the end of all of them. */
export const REQUEST_SETTINGS = {
  bodyLimit: {
    name: 'SIDECAR_BODY_LIMIT',
    section: 'Requests',
    kind: size,
    default: '0',
    text: 'the largest request body; 0: no limit',
  },
  replayBytes: {
    name: 'SIDECAR_REPLAY_BYTES',
    section: 'Requests',
    kind: size,
    default: '1MiB',
    text: 'the largest request body that is kept for a second try; 0: none is kept',
  },
  replayTotalBytes: {
    name: 'SIDECAR_REPLAY_TOTAL',
    section: 'Requests',
    kind: size,
    default: '64MiB',
    text: 'how much is kept for second tries in all; 0: nothing is kept',
  },
  holdMs: {
    name: 'SIDECAR_HOLD',
    section: 'Requests',
    kind: duration,
    default: '30s',
    text: 'how long a request waits for a LiteLLM that is away; 0: it does not wait',
  },
  holdMax: {
    name: 'SIDECAR_HOLD_MAX',
    section: 'Requests',
    kind: integer(0, 1_000_000),
    default: '1000',
    text: 'how many requests may wait; 0: none',
  },
  headersTimeoutMs: {
    name: 'SIDECAR_HEADERS_TIMEOUT',
    section: 'Requests',
    kind: duration,
    default: '30s',
    text: 'how long a client may take to send its headers; 0: no limit',
  },
  uploadIdleMs: {
    name: 'SIDECAR_UPLOAD_IDLE',
    section: 'Requests',
    kind: duration,
    default: '60s',
    text: 'how long a client may pause while it sends a body; 0: no limit',
  },
  connectTimeoutMs: {
    name: 'SIDECAR_CONNECT_TIMEOUT',
    section: 'Requests',
    kind: duration,
    default: '5s',
    text: 'how long a connection to LiteLLM may take; 0: no limit',
  },
  answerTimeoutMs: {
    name: 'SIDECAR_ANSWER_TIMEOUT',
    section: 'Requests',
    kind: duration,
    default: '0',
    text: 'how long LiteLLM may take to begin an answer; 0: no limit',
  },

  drainDelayMs: {
    name: 'SIDECAR_DRAIN_DELAY',
    section: 'Ending',
    kind: duration,
    default: '5s',
    text: 'told to stop: how long new requests are still served, so that load balancers notice',
  },
  drainMs: {
    name: 'SIDECAR_DRAIN',
    section: 'Ending',
    kind: duration,
    default: '600s',
    text: 'then: how long what is in flight may take to finish; 0: it is cut at once',
  },
} satisfies Partial<Settings>;
