import type { HandoverFault, HandoverView } from '../handover/views.ts';
import { oneLine } from '../text/safe.ts';
import { showAgo, showClock, showCount, showSpan } from './instant.ts';

/** What a handover is for. */
export const PURPOSE: Readonly<Record<HandoverView['kind'], string>> = {
  rotate: 'a new key',
  reload: 'the configuration as it is now',
  'dry-run': 'a try of the configuration, which switches nothing',
};

export const isOver = ({ state }: HandoverView): boolean =>
  state === 'done' || state === 'rolled_back';

/** `handover-12 (rotate by cli:alice)` */
export const handoverName = ({ id, kind, by }: HandoverView): string =>
  oneLine(`${id} (${kind} by ${by})`);

/** `starting since 14:03:11 UTC (6 s); waits for LiteLLM in slot b to answer` */
export function stepWords(view: HandoverView, now: number): string {
  const { state, stateSince, endedAt, waitsFor } = view;
  if (isOver(view)) return `${state.replace('_', ' ')} ${showAgo(endedAt ?? stateSince, now)}`;
  const since = `since ${showClock(stateSince)} (${showSpan(now - Date.parse(stateSince))})`;
  return oneLine(`${state} ${since}${waitsFor === null ? '' : `; waits for ${waitsFor}`}`);
}

/** `12 models, 2 appeared, 1 vanished`; '' where nobody knows yet. */
export function modelWords({ models }: HandoverView): string {
  if (models === null) return '';
  const { listed, added, vanished } = models;
  const changes = [
    ...(added.length > 0 ? [`${added.length} appeared`] : []),
    ...(vanished.length > 0 ? [`${vanished.length} vanished`] : []),
  ];
  return `${showCount(listed, 'model')}, ${changes.length > 0 ? changes.join(', ') : 'as before'}`;
}

/** Of a traceback the beginnings of lines mean something; so much of them stays. */
const DEEPEST = 40;

/** LiteLLM's last words, a line each, without what a terminal would obey. */
export const lastWordsOf = ({ lastWords }: HandoverFault): readonly string[] =>
  lastWords.map((line) => {
    const depth = /^ */.exec(line)?.[0].length ?? 0;
    return `${' '.repeat(Math.min(depth, DEEPEST))}${oneLine(line)}`;
  });
