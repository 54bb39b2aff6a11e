/** The client that always exists, has all scopes, and cannot be removed. */
export const MASTER = 'master';

/** `sk-` is refused because a key begins with it: a key may be pasted where a name belongs. */
const NAME = /^(?!sk-)[a-z](?:[a-z0-9-]{0,37}[a-z0-9])?$/;

/**
 * Whether a client may have this name: 1 to 39 lower-case letters, digits and inner hyphens, as it
 * stands in names of files, in labels of metrics and in logs.
 */
export const isClientName = (name: string): boolean => NAME.test(name);
