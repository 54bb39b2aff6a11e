import { configWord } from './config-word.ts';
import { viewOf, viewOfEnded } from './handover-views.ts';
import type { Observation } from './observation.ts';
import type { UpstreamState } from './state.ts';
import type { SlotLetter, SlotView, UpstreamView } from './views.ts';
import { type WarningSources, warningsOf } from './warnings.ts';

export interface StatusSources extends WarningSources {
  readonly urls: readonly [URL, ...URL[]];
  readonly everyMs: number;
  readonly autoReload: boolean;
}

const iso = (at: number): string => new Date(at).toISOString();
export const isoOrNull = (at: number | undefined): string | null =>
  at === undefined ? null : iso(at);

/** All that is known of the slots, as JSON. */
export function statusOf(sources: StatusSources): UpstreamView {
  const { runner, urls, everyMs, autoReload, now } = sources;
  const state = runner.state();
  const seen = runner.observe();
  const { active, handover } = state;
  const last = state.ended.at(-1);
  const config = configWord(runner);
  return {
    now: iso(now()),
    mode: urls.length === 1 ? 'one-slot' : 'slots',
    slots: urls.map((url, at) => slotView(at === 0 ? 'a' : 'b', url, state, seen)),
    handover: handover === undefined ? null : viewOf(handover, seen),
    waiting: runner.waiting() ?? null,
    last: last === undefined ? null : viewOfEnded(last),
    verified: state.verifiedAt !== undefined,
    keyMadeAt: isoOrNull(state.keyMadeAt[active]),
    rotateEveryMs: everyMs === 0 ? null : everyMs,
    nextRotationAt: isoOrNull(runner.unasked.nextRotationAt(state)),
    config,
    autoReload,
    database: sources.database() ?? null,
    saltKeySet: sources.saltKeySet,
    keyChange: null,
    warnings: warningsOf(sources),
    next: nextSteps(sources, config),
  };
}

function slotView(
  name: SlotLetter,
  { origin }: URL,
  state: UpstreamState,
  { slots }: Observation,
): SlotView {
  const { load, isUp, look } = slots[name];
  const view = stateOf(name, state, slots[name].folder !== 'none');
  const up = isUp || (view === 'candidate' && look?.verdict.kind === 'good');
  return { name, url: origin, state: view, up, ...load };
}

function stateOf(
  name: SlotLetter,
  { active, handover }: UpstreamState,
  hasFolder: boolean,
): SlotView['state'] {
  if (name === active) return 'active';
  if (handover !== undefined && hasFolder) return handover.to === name ? 'candidate' : 'draining';
  // One that was given up, in the moment before it is gone.
  return hasFolder ? 'draining' : 'empty';
}

function nextSteps({ runner, urls, autoReload }: StatusSources, config: UpstreamView['config']) {
  const { verifiedAt, handover } = runner.state();
  if (handover !== undefined) return [];
  if (urls.length === 1) return config === 'changed' ? ['restart the sidecar to place it'] : [];
  if (config === 'refused') return ['mend the configuration, then `sidecar upstream reload`'];
  if (config !== 'changed' || autoReload) return [];
  return verifiedAt === undefined
    ? ['`sidecar upstream reload` puts the edited configuration in place']
    : ['`sidecar upstream reload --dry-run` tries the edited configuration, then without it'];
}
