import type { HandoverView } from '../handover/views.ts';
import { AdminRefusal } from './admin-refusal.ts';
import { type AdminSession, writeJson } from './admin-session.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { renderHandover, rolledBack } from './handover-report.ts';
import { watchHandover } from './handover-watch.ts';
import { handoverName, stepWords } from './handover-words.ts';
import { say } from './terminal.ts';

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
