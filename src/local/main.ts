import { CommandError, sayError } from '../cli/terminal.ts';
import { runLocal } from './run.ts';

/** A terminal and npm both pass on one Ctrl-C: what comes this soon after is the same one. */
const SAME_PRESS_MS = 300;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls back for each request to end, one press counted once; returns the undo. */
export function onInterrupt(callback: () => void, now: () => number = Date.now): () => void {
  let last = Number.NEGATIVE_INFINITY;
  const heard = (): void => {
    const at = now();
    if (at - last < SAME_PRESS_MS) return;
    last = at;
    callback();
  };
  for (const signal of SIGNALS) process.on(signal, heard);
  return () => {
    for (const signal of SIGNALS) process.off(signal, heard);
  };
}

const { env, stdout, stderr, platform } = process;
// A terminal that was closed (SIGHUP) takes no more words; the two processes must end in order
// anyway.
for (const stream of [stdout, stderr]) stream.on('error', () => undefined);
const terminal = { env, cwd: process.cwd(), stdout, stderr };
try {
  process.exitCode = await runLocal(terminal, { platform, onInterrupt });
} catch (error) {
  if (!(error instanceof CommandError)) throw error;
  sayError(terminal, error);
  process.exitCode = error.exitCode;
}
