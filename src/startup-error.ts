/** Why the sidecar cannot start, in words for its operator. Holds no secret. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
  readonly kind: 'configuration' | 'state' | 'port';
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
