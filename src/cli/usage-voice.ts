/** A commander message as this program says it: the fault, and the hint that goes below it. */
export interface Usage {
  readonly message: string;
  readonly hints: readonly string[];
}

/**
 * Commander writes `error: unknown command 'chek'\n(Did you mean check?)`; ours are lower case,
 * without a full stop, with the suggestion as a hint, and always with a way on.
 */
export function revoice(text: string): Usage {
  const [first = '', ...rest] = text.trim().split('\n');
  const message = first
    .replace(/^error: /, '')
    .replace(/\.+$/, '')
    .replace(/\. ([A-Z])/, (_, start: string) => `: ${start.toLowerCase()}`);
  const [, nearest] = /^\(Did you mean (.+)\?\)$/.exec(rest.join(' ').trim()) ?? [];
  if (nearest !== undefined) return { message, hints: [`did you mean ${nearest}?`] };
  // What is wrong with an argument says itself what is right.
  const hints = / is invalid: /.test(message) ? [] : ['sidecar --help lists them all'];
  return { message, hints };
}
