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
  const said = first
    .replace(/^error: /, '')
    .replace(/\.+$/, '')
    .replace(/\. ([A-Za-z])/, (_, start: string) => `: ${start.toLowerCase()}`)
    // Commander's two ways to say where a value stands.
    .replace(/^command-argument value '(.*)' is invalid for argument '.*?':/, "'$1' is invalid:");
  // The parsers of options say it in brackets at their end.
  const [, message = said, own] = / is invalid: /.test(said)
    ? (/^(.*) \((.+)\)$/.exec(said) ?? [])
    : [];
  if (own !== undefined) return { message, hints: [own] };
  const [, nearest] = /^\(Did you mean (.+)\?\)$/.exec(rest.join(' ').trim()) ?? [];
  if (nearest !== undefined) return { message, hints: [`did you mean ${nearest}?`] };
  // What is wrong with an argument says itself what is right.
  const hints = / is invalid: /.test(message) ? [] : ['sidecar --help lists them all'];
  return { message, hints };
}
