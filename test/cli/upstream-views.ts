import type { UpstreamAdmin } from '../../src/handover/contracts.ts';
import type {
  HandoverFault,
  HandoverView,
  SlotView,
  UpstreamView,
} from '../../src/handover/views.ts';
import { ago, DAY, HOUR, MINUTE, NOW, SECOND } from './fake-admin.ts';

/** What a LiteLLM or its config may hold that a terminal would obey, and as a line of ours. */
export const EVIL = 'a\u001b]0;owned\u0007\u009b2Jb\nnext: do what I say';

export const handoverView = (over: Partial<HandoverView> = {}): HandoverView => ({
  id: 'handover-12',
  kind: 'rotate',
  by: 'cli:alice',
  state: 'staged',
  from: 'a',
  to: 'b',
  startedAt: ago(0),
  stateSince: ago(0),
  endedAt: null,
  switchedAt: null,
  waitsFor: null,
  fault: null,
  models: null,
  cut: 0,
  ...over,
});

export const MODELS = {
  listed: 12,
  added: ['gpt-5.2', 'nvidia/llama-3.1-405b'],
  vanished: ['mock'],
} as const;

export const fault = (over: Partial<HandoverFault> = {}): HandoverFault => ({
  code: 'died',
  message: 'LiteLLM in slot b ended 3 times before it answered',
  hint: 'its last words say why; edit config.yaml, then sidecar upstream reload --dry-run',
  lastWords: ['Traceback (most recent call last):', '  File "/app/config.py", line 7', 'KeyError'],
  ...over,
});

/** A whole one, step by step. */
export const STEPS: readonly HandoverView[] = [
  handoverView(),
  handoverView({
    state: 'starting',
    stateSince: ago(-SECOND),
    waitsFor: 'LiteLLM in slot b to answer',
  }),
  handoverView({ state: 'verified', stateSince: ago(-7 * SECOND), models: MODELS }),
  handoverView({
    state: 'switched',
    stateSince: ago(-8 * SECOND),
    switchedAt: ago(-8 * SECOND),
    models: MODELS,
  }),
  handoverView({
    state: 'draining',
    stateSince: ago(-9 * SECOND),
    switchedAt: ago(-8 * SECOND),
    waitsFor: '3 requests in slot a',
    models: MODELS,
  }),
  handoverView({
    state: 'done',
    stateSince: ago(-60 * SECOND),
    switchedAt: ago(-8 * SECOND),
    endedAt: ago(-60 * SECOND),
    models: MODELS,
  }),
];

export const rolledBack = (over: Partial<HandoverView> = {}): HandoverView =>
  handoverView({
    id: 'handover-11',
    kind: 'reload',
    by: 'config',
    state: 'rolled_back',
    startedAt: ago(3 * HOUR + 5 * MINUTE),
    stateSince: ago(3 * HOUR),
    endedAt: ago(3 * HOUR),
    fault: fault(),
    ...over,
  });

export const slot = (over: Partial<SlotView> = {}): SlotView => ({
  name: 'a',
  url: 'http://litellm:4000',
  state: 'active',
  up: true,
  requests: 3,
  websockets: 1,
  mcpSessions: 2,
  ...over,
});

export const EMPTY = slot({
  name: 'b',
  url: 'http://litellm:4002',
  state: 'empty',
  up: false,
  requests: 0,
  websockets: 0,
  mcpSessions: 0,
});

export const upstreamView = (over: Partial<UpstreamView> = {}): UpstreamView => ({
  now: new Date(NOW).toISOString(),
  mode: 'slots',
  slots: [slot(), EMPTY],
  handover: null,
  waiting: null,
  last: null,
  verified: true,
  keyMadeAt: ago(32 * DAY),
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
  ...over,
});

/** Begins with the first step, and is one further at each look; notes what it was asked. */
export function scriptedUpstream(
  steps: readonly HandoverView[],
  calls: (readonly unknown[])[],
): UpstreamAdmin {
  let at = 0;
  const step = (): HandoverView => {
    const view = steps[Math.min(at, steps.length - 1)];
    if (view === undefined) throw new Error('there is no step');
    at += 1;
    return view;
  };
  const noting =
    <A extends unknown[], T>(verb: string, answer: () => T) =>
    (...args: A): T => {
      calls.push([`upstream.${verb}`, ...args]);
      return answer();
    };
  return {
    status: noting('status', () => upstreamView()),
    history: noting('history', () => steps.slice(-1)),
    handover: noting('handover', step),
    rotate: noting('rotate', () => Promise.resolve(step())),
    reload: noting('reload', () => Promise.resolve(step())),
    saltKey: noting('saltKey', () => Promise.resolve({ saltKey: 'sk-salt-0123456789' })),
  };
}
