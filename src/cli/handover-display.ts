import { HANDOVER_STEPS, type HandoverStep, type HandoverView } from '../handover/views.ts';
import { oneLine } from '../text/safe.ts';
import type { AdminSession } from './admin-session.ts';
import { handoverName, isOver, stepWords } from './handover-words.ts';
import { showClock } from './instant.ts';
import { createLiveLines } from './live-lines.ts';
import { paint, say, type Terminal } from './terminal.ts';

export interface HandoverDisplay {
  show(view: HandoverView): void;
  /** Takes away what moves. */
  clear(): void;
}

/** Elsewhere than on a terminal: what a step waits for may be a number that changes each second. */
const SAY_EVERY_MS = 10_000;

/** On a terminal every step in its place; elsewhere a line for each, and where it waits. */
export function createHandoverDisplay({ terminal, time }: AdminSession): HandoverDisplay {
  const live = createLiveLines(terminal, terminal.stderr);
  const since = new Map<string, string>();
  const said = { state: '', waitsFor: '', at: 0 };

  const sayChange = (view: HandoverView, now: number): void => {
    const { id, state } = view;
    const waitsFor = view.waitsFor ?? '';
    if (isOver(view) || (state === said.state && waitsFor === said.waitsFor)) return;
    if (state === said.state && now - said.at < SAY_EVERY_MS) return;
    say(terminal, `${oneLine(id)}: ${stepWords(view, now)}`);
    Object.assign(said, { state, waitsFor, at: now });
  };

  return {
    show(view) {
      const now = time.now();
      since.set(view.state, view.stateSince);
      if (view.switchedAt !== null) since.set('switched', view.switchedAt);
      if (live === undefined) sayChange(view, now);
      else live.draw(drawSteps(terminal, view, since, now));
    },
    clear: () => live?.clear(),
  };
}

const LAST_OF_A_TRY = HANDOVER_STEPS.indexOf('verified');

/** Which steps there are; `waiting` only of one that had to. */
function stepsOf({ kind }: HandoverView, since: ReadonlyMap<string, string>) {
  const steps = kind === 'dry-run' ? HANDOVER_STEPS.slice(0, LAST_OF_A_TRY + 1) : HANDOVER_STEPS;
  return steps.filter((step) => step !== 'waiting' || since.has(step));
}

function drawSteps(
  terminal: Terminal,
  view: HandoverView,
  since: ReadonlyMap<string, string>,
  now: number,
): readonly string[] {
  const { stderr } = terminal;
  const at = HANDOVER_STEPS.indexOf(view.state as HandoverStep);
  const rows = stepsOf(view, since).map((step) => {
    const place = HANDOVER_STEPS.indexOf(step);
    if (place === at) return paint(terminal, stderr, 'cyan', `● ${stepWords(view, now)}`);
    const began = since.get(step);
    const when = began === undefined ? '' : ` since ${showClock(began)}`;
    if (place < at || isOver(view)) return paint(terminal, stderr, 'green', `✔ ${step}${when}`);
    return paint(terminal, stderr, 'dim', `· ${step}`);
  });
  const title = `${handoverName(view)}, from slot ${view.from} to slot ${view.to}`;
  return [oneLine(title), ...rows.map((row) => `  ${row}`)];
}
