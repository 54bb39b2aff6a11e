/** What is kept of an error on its way from one thread to another, where Node drops its code. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly syscall?: string;
}

export function failureOf(error: unknown): Failure {
  const { name, message, code, syscall } = error as NodeJS.ErrnoException;
  return {
    ...{ name, message },
    ...(code !== undefined && { code }),
    ...(syscall !== undefined && { syscall }),
  };
}

export const errorOf = ({ message, ...rest }: Failure): Error =>
  Object.assign(new Error(message), rest);
