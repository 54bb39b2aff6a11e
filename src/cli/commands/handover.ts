import { HANDOVER_STEPS, type HandoverStep, type HandoverView } from '../../handover/views.ts';
import { oneLine } from '../../text/safe.ts';
import { AdminRefusal, type AdminSession, writeJson } from '../admin-client.ts';
import { createAbsence, createLiveLines, stopped } from '../screen.ts';
import {
  CommandError,
  EXIT,
  type ExitCode,
  paint,
  type Style,
  say,
  type Terminal,
} from '../terminal.ts';
import {
  cutWords,
  handoverName,
  isOver,
  lastWordsOf,
  modelWords,
  PURPOSE,
  showClock,
  stepWords,
} from '../words.ts';

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

/** Of a few hundred models the others are in `--json`. */
const MOST_NAMES = 20;

/** What a handover did that came to where it was to. */
export function renderHandover(terminal: Terminal, view: HandoverView): string {
  const models = modelWords(view);
  const lines = [
    paint(terminal, terminal.stdout, 'green', doneWords(view)),
    ...restWords(view),
    ...(models === '' ? [] : [models]),
    ...namesOf(terminal, 'appeared', 'green', view.models?.added ?? []),
    ...namesOf(terminal, 'vanished', 'yellow', view.models?.vanished ?? []),
    ...nextWords(view).map((words) => `next: ${words}`),
  ];
  return `${lines.join('\n  ')}\n`;
}

function doneWords({ kind, to }: HandoverView): string {
  if (kind === 'dry-run') return `the configuration came up in slot ${to}; nothing was switched`;
  const how = kind === 'rotate' ? 'a new key' : 'the configuration as it is now';
  return `LiteLLM in slot ${to} answers new requests, with ${how}`;
}

function restWords(view: HandoverView): readonly string[] {
  const { kind, from, cut } = view;
  if (kind === 'dry-run') return [];
  if (!isOver(view)) return [`the one in slot ${from} finishes what it has in hand`];
  return [`the one in slot ${from} has ended`, ...(cut > 0 ? [cutWords(cut)] : [])];
}

function nextWords(view: HandoverView): readonly string[] {
  if (view.kind === 'dry-run') return ['sidecar upstream reload switches to it'];
  return isOver(view) ? [] : ['sidecar upstream status shows what is left'];
}

function namesOf(
  terminal: Terminal,
  word: string,
  style: Style,
  names: readonly string[],
): readonly string[] {
  const more = names.length - MOST_NAMES;
  return [
    ...names
      .slice(0, MOST_NAMES)
      .map((name) => `${paint(terminal, terminal.stdout, style, word)}: ${oneLine(name, 200)}`),
    ...(more > 0 ? [`and ${more} more that ${word}`] : []),
  ];
}

/** Why one was rolled back, as this command ends. */
export function rolledBack({ id, from, fault }: HandoverView): CommandError {
  const why = oneLine(fault?.message ?? 'the log of the sidecar says why');
  const hints = fault === null || fault.hint === '' ? [] : [oneLine(fault.hint)];
  const words = fault === null ? [] : lastWordsOf(fault).map((line) => `  ${line}`);
  return new CommandError(
    `${id} was rolled back, and LiteLLM in slot ${from} goes on: ${why}`,
    EXIT.failed,
    hints,
    words.length === 0 ? [] : ["LiteLLM's last words:", ...words],
  );
}

export interface Watching {
  /** Until the end, rather than until new requests have gone over. */
  readonly untilEnd: boolean;
  /** Told of each look. */
  readonly onLook: (view: HandoverView) => void;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
}

const LOOK_EVERY_MS = 1000;
const DOING = 'watching';
const GOES_ON = 'the handover goes on without this command; sidecar upstream status shows how';

/**
 * Shows how a handover goes on. Resolves to whether it came to where it was to be watched to;
 * false: Ctrl-C was first. Throws `CommandError` where the sidecar stays away.
 */
export async function watchHandover(
  session: AdminSession,
  begun: HandoverView,
  { untilEnd, onLook, signal }: Watching,
): Promise<boolean> {
  const { terminal, time } = session;
  const { id, kind, from, to } = begun;
  say(terminal, `${id} has begun: ${PURPOSE[kind]}, from slot ${from} to slot ${to}`, [
    'Ctrl-C ends the watching, and not the handover',
  ]);
  const display = createHandoverDisplay(session);
  const absence = createAbsence(terminal, { everyMs: LOOK_EVERY_MS, doing: DOING, hint: GOES_ON });
  const isThere = (view: HandoverView): boolean =>
    isOver(view) || (!untilEnd && view.switchedAt !== null);
  for (let seen: HandoverView | CommandError = begun; ; seen = await look(session, id, signal)) {
    if (signal.aborted) break;
    if (seen instanceof CommandError) {
      display.clear();
      absence.goesOn(seen);
    } else {
      absence.over();
      onLook(seen);
      display.show(seen);
      if (isThere(seen)) {
        display.clear();
        return true;
      }
    }
    await time.sleep(LOOK_EVERY_MS, signal);
    if (signal.aborted) break;
  }
  say(terminal, `stopped watching; ${id} goes on`, ['sidecar upstream status shows how']);
  return false;
}

/** One look; a sidecar that cannot be asked now is no end. */
async function look(
  { api }: AdminSession,
  id: string,
  signal: AbortSignal,
): Promise<HandoverView | CommandError> {
  try {
    return await api.handover(id, signal);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    if (error.exitCode === EXIT.unavailable) return error;
    if (error instanceof AdminRefusal && error.code === 'unknown_handover') {
      const message = `the sidecar knows of no ${id} any more`;
      throw stopped(DOING, message, EXIT.failed, 'sidecar upstream history shows the last ones');
    }
    throw stopped(DOING, error.message, error.exitCode, GOES_ON);
  }
}

export interface HandoverOptions {
  /** Until the LiteLLM before has ended. */
  readonly wait: boolean;
  readonly json: boolean;
}

/** `sidecar upstream rotate` and `reload`: begins a handover, and stays while it goes on. */
export async function handOver(
  session: AdminSession,
  begin: () => Promise<HandoverView>,
  { wait, json }: HandoverOptions,
  interrupts: () => AbortSignal,
): Promise<ExitCode> {
  const { terminal } = session;
  let last = await sayingWhich(session, begin);
  const onLook = (view: HandoverView): void => {
    last = view;
  };
  try {
    const watching = { untilEnd: wait, onLook, signal: interrupts() };
    if (!(await watchHandover(session, last, watching))) return EXIT.interrupted;
  } finally {
    // However the watching ended: it holds the id, by which the handover is found again.
    if (json) writeJson(terminal, last);
  }
  if (last.state === 'rolled_back') throw rolledBack(last);
  if (!json) terminal.stdout.write(renderHandover(terminal, last));
  return EXIT.ok;
}

/** Where another one is under way, which one that is is said above the refusal. */
async function sayingWhich<T>(session: AdminSession, verb: () => Promise<T>): Promise<T> {
  try {
    return await verb();
  } catch (error) {
    if (error instanceof AdminRefusal && error.handover !== undefined) {
      const { terminal, time } = session;
      const { handover } = error;
      say(terminal, `${handoverName(handover)}: ${stepWords(handover, time.now())}`);
    }
    throw error;
  }
}
