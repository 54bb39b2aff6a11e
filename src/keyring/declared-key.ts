/** Below this a key can be guessed; LiteLLM's Helm chart makes 18 characters. */
const SHORTEST = 12;
/** Below this (about 190 bits of letters and digits) a key is taken with a warning. */
const COMFORTABLE = 32;
/** Values that stand in tutorials, in LiteLLM's own documents and in example files. */
const KNOWN = [
  /^(?:sk-)?(?:1234\d*|x+|\*+|\.+|test|secret|key|master-?key|password|changeit|todo)$/i,
  /^(?:sk-)?(?:litellm(?:-master-key)?|my-?(?:secret-?)?key)$/i,
  /^(?:sk-)?(?:change-?me|replace|your|example|placeholder|<|\$\{)/i,
];

export type DeclaredKeyCheck =
  | { readonly ok: true; readonly warning?: string }
  | { readonly ok: false; readonly reason: string };

/**
 * Whether a key that the operator set may guard the gateway. It needs no checksum, but it must not
 * be one that everybody knows. Neither the reason nor the warning holds the value.
 */
export function checkDeclaredKey(value: string): DeclaredKeyCheck {
  const refuse = (reason: string): DeclaredKeyCheck => ({ ok: false, reason });
  if (!/^[\x21-\x7e]*$/.test(value)) return refuse('it has spaces or characters outside ASCII');
  if (KNOWN.some((known) => known.test(value)))
    return refuse('it is a value that everybody knows, or a placeholder');
  if (value.length < SHORTEST) {
    return refuse(`it has ${value.length} characters; at least ${SHORTEST} are needed`);
  }
  const body = value.startsWith('sk-') ? value.slice(3) : value;
  if (new Set(body).size < 3) return refuse('it repeats one or two characters');
  if (value.length >= COMFORTABLE) return { ok: true };
  return {
    ok: true,
    warning: `it has only ${value.length} characters; replace it by one of \`sidecar key new\``,
  };
}
