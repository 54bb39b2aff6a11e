import type { HandoverView, SlotView, UpstreamView } from '../handover/views.ts';
import { handoverName, stepWords } from './handover-words.ts';
import { showAgo, showClock, showCount } from './instant.ts';
import type { Line } from './word-lines.ts';

/** LiteLLM in one line of `sidecar status`; `sidecar upstream status` has the rest. */
export function upstreamLine(view: UpstreamView, now: number): Line {
  const parts = [
    placeWords(view),
    ...configWords(view),
    ...[view.handover, view.waiting].flatMap((each) => handoverWords(each, now)),
    ...keyChangeWords(view, now).map((words) => `key change ${words}`),
    ...warningWords(view),
  ];
  return { word: 'litellm', style: styleOf(view), text: parts.join('; ') };
}

const activeOf = ({ slots }: UpstreamView): SlotView | undefined =>
  slots.find(({ state }) => state === 'active');

const upWord = (slot: SlotView | undefined): string => (slot?.up === true ? 'up' : 'away');

function placeWords(view: UpstreamView): string {
  const active = activeOf(view);
  if (view.mode === 'unmanaged') return `somebody else runs it, ${upWord(active)}`;
  return active === undefined ? 'none is active' : `slot ${active.name}, ${upWord(active)}`;
}

function configWords({ config, autoReload }: UpstreamView): readonly string[] {
  if (config === 'none') return [];
  if (config === 'refused') return ['config refused: `sidecar upstream status` says why'];
  if (config === 'current' || autoReload) return [`config ${config}`];
  return ['config changed: `sidecar upstream reload` takes it'];
}

const handoverWords = (view: HandoverView | null, now: number): readonly string[] =>
  view === null ? [] : [`${handoverName(view)}: ${stepWords(view, now).replace('; ', ', ')}`];

/** `since 14:03:11 UTC (6 s ago): the new key was accepted 3 s ago, …`; nothing where none is. */
export function keyChangeWords({ keyChange }: UpstreamView, now: number): readonly string[] {
  if (keyChange === null) return [];
  const { since, newAcceptedAt, oldAcceptedAt } = keyChange;
  const accepted = (at: string | null): string =>
    at === null ? 'not accepted so far' : `accepted ${showAgo(at, now)}`;
  const when = `since ${showClock(since)} (${showAgo(since, now)})`;
  return [`${when}: new key ${accepted(newAcceptedAt)}, old key ${accepted(oldAcceptedAt)}`];
}

const warningWords = ({ warnings }: UpstreamView): readonly string[] =>
  warnings.length === 0
    ? []
    : [`${showCount(warnings.length, 'warning')}: \`sidecar upstream status\``];

function styleOf(view: UpstreamView): Line['style'] {
  if (activeOf(view)?.up !== true) return 'red';
  const isCalm = view.config !== 'refused' && view.warnings.length === 0;
  return isCalm ? 'dim' : 'yellow';
}
