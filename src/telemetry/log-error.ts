/** What a log line says of an error. */
export interface ErrorFields {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: ErrorFields;
  /** Of an AggregateError: a connect that failed on every address has no message but these. */
  readonly errors?: readonly ErrorFields[];
}

const MAX_DEPTH = 5;
const MAX_ERRORS = 8;

/** What is thrown may be anything; of an object only its kind is told, as it may hold a key. */
const describeOther = (thrown: unknown): ErrorFields => ({
  type: typeof thrown,
  message:
    typeof thrown === 'object' || typeof thrown === 'function'
      ? Object.prototype.toString.call(thrown)
      : String(thrown),
});

/**
 * Takes from an error what is named here and nothing else: those of undici and http-proxy-3 carry
 * requests, headers and sockets, and with them keys. Texts are redacted with the line.
 */
export const describeError = (error: unknown, depth = 0): ErrorFields => {
  if (!(error instanceof Error)) return describeOther(error);
  const { code } = error as { code?: unknown };
  const deeper = depth < MAX_DEPTH;
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' && { code }),
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(deeper && error.cause !== undefined && { cause: describeError(error.cause, depth + 1) }),
    ...(deeper &&
      error instanceof AggregateError && {
        errors: error.errors.slice(0, MAX_ERRORS).map((each) => describeError(each, depth + 1)),
      }),
  };
};
