/** Characters of the longest name that is compared with globs; LiteLLM's own have up to 100. */
export const LONGEST_MODEL = 500;

/** Whether a client may use the model that a request names, as it is written there. */
export type MayUseModel = (name: string) => boolean;

const made = new WeakMap<readonly string[], MayUseModel>();

/**
 * Reads a list of models, of which each is a name or a glob: `*` stands for any characters, `/`
 * too, and everything else for itself. A list is compiled once, as long as it is the same array.
 */
export function mayUseModels(globs: readonly string[]): MayUseModel {
  const known = made.get(globs);
  if (known !== undefined) return known;
  const names = new Set(globs.filter((glob) => !glob.includes('*')));
  const patterns = globs.filter((glob) => glob.includes('*')).map(compile);
  const mayUse: MayUseModel = (name) =>
    names.has(name) || (name.length <= LONGEST_MODEL && patterns.some((matches) => matches(name)));
  made.set(globs, mayUse);
  return mayUse;
}

/**
 * One glob. The parts between its stars are looked for from left to right, each behind the one
 * before, so that no glob makes a name be read again: a regular expression of many stars would.
 */
function compile(glob: string): MayUseModel {
  const [first = '', ...others] = glob.split('*');
  const last = others.pop() ?? '';
  return (name) => {
    if (name.length < first.length + last.length) return false;
    if (!name.startsWith(first) || !name.endsWith(last)) return false;
    const end = name.length - last.length;
    let at = first.length;
    for (const part of others) {
      const found = name.indexOf(part, at);
      if (found < 0 || found + part.length > end) return false;
      at = found + part.length;
    }
    return at <= end;
  };
}

/**
 * Tells which names and globs match none of these models. LiteLLM may list a glob of its own, such
 * as `openai/*`: what one of the two takes in the other matches. Each is looked at once.
 */
export function createUnlistedModels(listed: readonly string[]) {
  const names = new Set(listed);
  const wide = listed.filter((name) => name.includes('*')).map(compile);
  const known = new Map<string, boolean>();
  const isListed = (glob: string): boolean => {
    if (names.has(glob) || wide.some((matches) => matches(glob))) return true;
    return glob.includes('*') && listed.some(compile(glob));
  };
  return (globs: readonly string[]): readonly string[] =>
    globs.filter((glob) => {
      const found = known.get(glob) ?? isListed(glob);
      known.set(glob, found);
      return !found;
    });
}
