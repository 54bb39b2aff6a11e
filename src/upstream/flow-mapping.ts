/** A scalar of a mapping in YAML's flow style, which is JSON's, too. */
export interface FlowScalar {
  /** The keys from the outermost mapping to the scalar, with a dot between them. */
  readonly path: string;
  /** Without quotes; escapes are left as they are. */
  readonly value: string;
  /** Where its key begins in the text. */
  readonly at: number;
}

/** A colon ends a key only before a space or one of these; else it belongs to a word. */
const TOKEN = new RegExp(
  [
    /\s+|#.*/,
    /"(?:[^"\\]|\\[\s\S])*"|'(?:[^']|'')*'/,
    /[{}[\],]|:(?=[\s{}[\],]|$)/,
    /(?:[^\s{}[\],:"'#]|:)(?:[^\n{}[\],:#]|:(?![\s{}[\],]|$)|(?<!\s)#)*/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'y',
);

interface Level {
  readonly isMapping: boolean;
  key: string;
  keyAt: number;
  /** What comes next: a key, the colon behind it, a value, the comma behind it. */
  next: 'key' | 'colon' | 'value' | 'comma';
}

/** What stands between two brackets. */
export interface Flow {
  readonly scalars: readonly FlowScalar[];
  /** Where it ends in the text. */
  readonly end: number;
}

/**
 * Reads the mapping or the list that begins with the bracket at `from`, to the one that closes it;
 * as far as it can be read where it is no YAML.
 */
export function readFlow(text: string, from: number): Flow {
  const found: FlowScalar[] = [];
  const outside: Level = { isMapping: false, key: '', keyAt: from, next: 'key' };
  const levels: Level[] = [];
  let level = outside;

  const end = (value: string): void => {
    if (level.isMapping && (level.next === 'value' || level.next === 'colon')) {
      const path = levels.map(({ isMapping, key }) => (isMapping ? key : '-')).join('.');
      found.push({ path, value, at: level.keyAt });
    }
    level.next = 'comma';
  };
  const open = (token: string, at: number): void => {
    level = { isMapping: token === '{', key: '', keyAt: at, next: 'key' };
    levels.push(level);
  };
  const close = (): void => {
    end('');
    levels.pop();
    level = levels.at(-1) ?? outside;
    level.next = 'comma';
  };
  const acts: Readonly<Record<string, (token: string, at: number) => void>> = {
    '{': open,
    '[': open,
    '}': close,
    ']': close,
    ',': () => {
      end('');
      level.next = 'key';
    },
    ':': () => {
      level.next = 'value';
    },
  };
  const scalar = (token: string, at: number): void => {
    const value = withoutQuotes(token.trimEnd());
    if (level.next === 'key') Object.assign(level, { key: value, keyAt: at, next: 'colon' });
    else end(value);
  };

  let at = from;
  do {
    const token = tokenAt(text, at, level.next === 'colon');
    if (token === undefined) break;
    if (!/^[\s#]/.test(token)) (acts[token] ?? scalar)(token, at);
    at += token.length;
  } while (levels.length > 0);
  return { scalars: found, end: at };
}

/** @param afterKey Behind a key in quotes the colon needs no space. */
function tokenAt(text: string, at: number, afterKey: boolean): string | undefined {
  if (afterKey && text[at] === ':' && /["']/.test(text[at - 1] ?? '')) return ':';
  TOKEN.lastIndex = at;
  return TOKEN.exec(text)?.[0];
}

/** `"x"` and `'x'` are x. */
export const withoutQuotes = (scalar: string): string =>
  /^(["'])[\s\S]*\1$/.test(scalar) && scalar.length > 1 ? scalar.slice(1, -1) : scalar;
