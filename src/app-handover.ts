import type { AppOptions, Base } from './app-base.ts';
import type { KeyService } from './app-keys.ts';
import { looksOf } from './app-looks.ts';
import {
  openUpstream,
  type ToldEvents,
  type Upstream,
  type UpstreamTraffic,
} from './app-upstream.ts';
import { HandoverError, type UpstreamAdmin } from './handover/contracts.ts';
import type { HandoverView } from './handover/views.ts';
import { createConfigWatch } from './litellm/config.ts';
import { triggerOf } from './rotation/events.ts';
import type { Keys } from './rotation/keys.ts';

/** LiteLLM, wherever it runs, with all that is told of it. */
export type Handover = Pick<Upstream, 'admin' | 'slot' | 'keys' | 'onKeyAccepted' | 'close'> & {
  /** The traffic serves from now on. */
  start(traffic: UpstreamTraffic): void;
};

/**
 * Finds the LiteLLM to which requests go, and hands over from then on.
 *
 * @throws StartupError where its key or its slot cannot be used
 */
export async function openHandover(
  options: AppOptions,
  { metrics }: Base,
  { keys, mayWrite }: KeyService,
): Promise<Handover> {
  const { config, log, fault } = options;
  const upstream = await openUpstream({
    ...{ config, log, mayWrite, looks: looksOf(config), now: keys.now },
    places: { upstreamKey: options.upstreamKeyPlaces, declaredKey: options.places },
    events: tellOf(metrics, keys),
    ...(fault !== undefined && { fault }),
  });
  const onConfigChanged: Upstream['onConfigChanged'] = (seen) => {
    if (typeof seen !== 'string') metrics.handoverEvents.onConfigChange('unusable');
    upstream.onConfigChanged(seen);
  };
  const { litellmConfig: source, slots } = config;
  const watched = slots === undefined ? undefined : source;
  let stopWatch = (): void => undefined;
  const { slot, onKeyAccepted } = upstream;
  return {
    admin: counting(upstream.admin, metrics.keyEvents),
    ...{ slot, keys: upstream.keys, onKeyAccepted },
    start(traffic) {
      metrics.handoverEvents.onHandoverState(upstream.step);
      upstream.start(traffic);
      if (watched === undefined) return;
      stopWatch = createConfigWatch({ source: watched, onChanged: onConfigChanged }).stop;
    },
    async close() {
      stopWatch();
      await upstream.close();
    },
  };
}

/** What metrics and audit are told. */
function tellOf({ handoverEvents, keyEvents }: Base['metrics'], keys: Keys): ToldEvents {
  return {
    onStep: ({ state }) => handoverEvents.onHandoverState(state),
    onEnd(view) {
      const { kind, by, state } = view;
      handoverEvents.onHandoverState('idle');
      handoverEvents.onHandoverEnd(view);
      const isDone = state === 'done';
      if (kind === 'rotate') {
        keyEvents.onUpstreamRotation(triggerOf(by), isDone ? 'done' : 'failed');
      }
      if (by === 'config') handoverEvents.onConfigChange(isDone ? 'applied' : 'refused');
      keys.note(auditEntryOf(view));
    },
    onKeyChange: (now) => keys.note({ by: 'sidecar', action: KEY_CHANGES[now] }),
  };
}

const ACTIONS = {
  rotate: 'upstream-rotated',
  reload: 'upstream-reloaded',
  'dry-run': 'upstream-tried',
} as const satisfies Record<HandoverView['kind'], string>;

/** By which keys of somebody else's LiteLLM are in use from then on. */
const KEY_CHANGES = { both: 'upstream-key-changes', new: 'upstream-key-changed' } as const;

function auditEntryOf({ id, kind, by, state, from, to, fault }: HandoverView) {
  const detail = { handover: id, fromSlot: from, toSlot: to };
  if (state === 'done') return { by, action: ACTIONS[kind], detail };
  const why = fault?.code ?? 'unknown';
  return { by, action: 'upstream-rolled-back', detail: { ...detail, kind, why } };
}

/** Counts the rotations that were asked for and refused; the others tell how they ended. */
function counting(
  admin: UpstreamAdmin,
  { onUpstreamRotation }: Base['metrics']['keyEvents'],
): UpstreamAdmin {
  return {
    ...admin,
    async rotate(by) {
      try {
        return await admin.rotate(by);
      } catch (error) {
        const refused = error instanceof HandoverError && error.code !== 'state_unavailable';
        onUpstreamRotation(triggerOf(by), refused ? 'refused' : 'failed');
        throw error;
      }
    },
  };
}
