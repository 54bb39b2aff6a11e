import { CommandError, type ExitCode } from './exit-code.ts';
import { say, type Terminal } from './terminal.ts';

/** A restart is waited for; a sidecar that stays away is not. */
const AT_MOST_MS = 60_000;

/** How long the sidecar that is asked again and again has been away. */
export interface Absence {
  /** It answered. */
  over(): void;
  /** It did not, for one more look: said once, and thrown where that lasts. */
  goesOn(reason: CommandError): void;
}

export interface AbsenceOptions {
  /** Milliseconds between two looks. */
  readonly everyMs: number;
  /** `still waiting`, `stopped waiting`. */
  readonly doing: string;
  /** What is as it was, though nobody waits for it any more. */
  readonly hint: string;
}

export function createAbsence(
  terminal: Terminal,
  { everyMs, doing, hint }: AbsenceOptions,
): Absence {
  let awayMs = 0;
  return {
    over() {
      awayMs = 0;
    },
    goesOn({ message, exitCode }) {
      if (awayMs === 0) say(terminal, `${message}; still ${doing}`);
      awayMs += everyMs;
      if (awayMs > AT_MOST_MS) throw stopped(doing, message, exitCode, hint);
    },
  };
}

/** The end of a watching, for a reason that does not end what was watched. */
export const stopped = (doing: string, message: string, exitCode: ExitCode, hint: string) =>
  new CommandError(`stopped ${doing}: ${message}`, exitCode, [hint]);
