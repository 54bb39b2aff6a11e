/** Why the sidecar cannot start, in words for its operator. Holds no secret. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
  /** `locked`: another sidecar has the state folder. */
  readonly kind: 'configuration' | 'state' | 'port' | 'locked';
  /** What to do about it. */
  readonly hint: string;

  constructor(
    kind: StartupError['kind'],
    message: string,
    options: { hint: string; cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.kind = kind;
    this.hint = options.hint;
  }
}
