import type { HandoverView } from '../handover/views.ts';
import { createAbsence, stopped } from './absence.ts';
import { AdminRefusal } from './admin-refusal.ts';
import type { AdminSession } from './admin-session.ts';
import { CommandError, EXIT } from './exit-code.ts';
import { createHandoverDisplay } from './handover-display.ts';
import { isOver, PURPOSE } from './handover-words.ts';
import { say } from './terminal.ts';

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
