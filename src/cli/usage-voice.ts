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
    .replace(/\. /, ': ');
  const [, nearest] = /^\(Did you mean (.+)\?\)$/.exec(rest.join(' ').trim()) ?? [];
  const hint = nearest === undefined ? 'sidecar --help lists them all' : `did you mean ${nearest}?`;
  return { message, hints: [hint] };
}
