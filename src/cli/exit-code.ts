/**
 * What a shell learns from the end of a command; sysexits(3) where it has a number for the case.
 */
export const EXIT = {
  ok: 0,
  /** It was asked for correctly and did not succeed. */
  failed: 1,
  /** Unknown command or option, missing argument. */
  usage: 2,
  /** EX_USAGE: the environment, `.env` or a file they name holds mistakes. */
  configuration: 64,
  /** EX_UNAVAILABLE: something that must be installed or free is not. */
  unavailable: 69,
  /** EX_CANTCREAT: the state folder cannot be written. */
  cannotCreate: 73,
  /** 128 + SIGINT. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An end that was foreseen: what happened, what to do about it, and the code to leave with. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: ExitCode;
  readonly hints: readonly string[];
  /** Lines to show before it, as they are: the end of a log, a list of mistakes. */
  readonly detail: readonly string[];

  constructor(
    message: string,
    exitCode: ExitCode = EXIT.failed,
    hints: readonly string[] = [],
    detail: readonly string[] = [],
  ) {
    super(message);
    this.exitCode = exitCode;
    this.hints = hints;
    this.detail = detail;
  }
}
