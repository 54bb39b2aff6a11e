import { readConfigTree } from './config.ts';

/** As a master key, this text makes LiteLLM take the key that it was started with. */
const FROM_ENVIRONMENT = 'os.environ/LITELLM_MASTER_KEY';

/** A key at this place wins over the environment (litellm/proxy/proxy_server.py, `load_config`). */
const SECTION = 'general_settings';
const KEY = 'master_key';

/**
 * The line of `config.yaml`, from 1, that gives LiteLLM a master key of its own, so that the key in
 * its slot is worth nothing. Undefined where no such line is seen. This is a hint: the search goes
 * by lines and follows no include, no alias and no merge key. Nobody is told the value. Never
 * rejects.
 *
 * @param source `config.yaml`, or the folder that holds it.
 */
export async function masterKeyLine(source: string): Promise<number | undefined> {
  try {
    const files = await readConfigTree(source);
    const config = files.find(({ path }) => path === 'config.yaml');
    return config && ownKeyLine(config.bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

function ownKeyLine(text: string): number | undefined {
  const found = masterKeyIn(text.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n'));
  return found === undefined || found.value === FROM_ENVIRONMENT ? undefined : found.line;
}

interface Found {
  readonly value: string;
  readonly line: number;
}

/** Where a key or a section stands twice, the last one counts. */
function masterKeyIn(text: string): Found | undefined {
  const lines = text.split('\n');
  const first = lines.findIndex((line) => !BLANK.test(line) && !/^(?:---|%)/.test(line));
  const start = lines.slice(0, first).join('\n').length + (first > 0 ? 1 : 0);
  if (/^\s*\{/.test(lines[first] ?? '')) {
    return inFlow(text, text.indexOf('{', start), `${SECTION}.${KEY}`);
  }
  const sections = [...entriesOf(text, lines, first)].filter(({ key }) => key === SECTION);
  const section = sections.at(-1);
  if (section === undefined) return undefined;
  const { value, at, offset } = section;
  if (value.startsWith('{')) return inFlow(text, offset, KEY);
  return BLANK.test(value) ? inBlock(text, lines, at) : undefined;
}

function inFlow(text: string, from: number, path: string): Found | undefined {
  const found = readFlow(text, from).scalars.findLast((scalar) => scalar.path === path);
  return found && { value: found.value, line: text.slice(0, found.at).split('\n').length };
}

function inBlock(text: string, lines: readonly string[], above: number): Found | undefined {
  const entries = [...entriesOf(text, lines, above + 1, indentOf(lines[above]) + 1)];
  const entry = entries.findLast(({ key }) => key === KEY);
  if (entry === undefined) return undefined;
  const value = scalarOf(entry.value) || scalarBelow(lines, entry.at);
  return { value, line: entry.at + 1 };
}

interface Entry {
  readonly key: string;
  /** What stands behind the colon on the same line, without an anchor or a tag. */
  readonly value: string;
  /** Its line in the text, from 0. */
  readonly at: number;
  /** Where the value begins in the text. */
  readonly offset: number;
}

/** A key, its colon and what stands behind it. */
const ENTRY = /^( *)(["']?)([\w-]+)\2 *:(?:[ \t]+(.*))?$/;
const BLANK = /^\s*(?:#.*)?$/;
const ANCHORS = /^(?:[&!]\S*(?:\s+|$))+/;

/** The entries of the block mapping whose first line stands at `from` or below it. */
function* entriesOf(
  text: string,
  lines: readonly string[],
  from: number,
  least = 0,
): Generator<Entry> {
  let indent: number | undefined;
  let begin = lines.slice(0, from).reduce((sum, line) => sum + line.length + 1, 0);
  let flowEnd = 0;
  for (let at = from; at >= 0 && at < lines.length; at++) {
    const line = lines[at] ?? '';
    const offset = begin + line.length;
    begin = offset + 1;
    // What stands between brackets may stand in any column.
    if (BLANK.test(line) || offset <= flowEnd) continue;
    indent ??= indentOf(line);
    if (indentOf(line) < Math.max(indent, least)) return;
    const [, spaces, , key, raw = ''] = ENTRY.exec(line) ?? [];
    if (key === undefined || spaces?.length !== indent) continue;
    const value = raw.replace(ANCHORS, '');
    const entry = { key, value, at, offset: offset - value.length };
    if (/^[[{]/.test(value)) flowEnd = readFlow(text, entry.offset).end;
    yield entry;
  }
}

const BLOCK_SCALAR = /^[|>][-+\d]*(?:\s+#.*)?$/;

/** The value behind a colon; '' where it stands on the next line, or nowhere. */
function scalarOf(value: string): string {
  if (BLOCK_SCALAR.test(value) || BLANK.test(value)) return '';
  const [quoted] = /^(?:"[^"]*"|'[^']*')/.exec(value) ?? [];
  return withoutQuotes(quoted ?? value.replace(/\s+#.*$/, '').trimEnd());
}

function scalarBelow(lines: readonly string[], at: number): string {
  const below = lines.slice(at + 1).find((line) => !BLANK.test(line));
  if (below === undefined || indentOf(below) <= indentOf(lines[at])) return '';
  return scalarOf(below.trimStart().replace(ANCHORS, ''));
}

const indentOf = (line = ''): number => line.length - line.trimStart().length;

/** A scalar of a mapping in YAML's flow style, which is JSON's, too. */
interface FlowScalar {
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
interface Flow {
  readonly scalars: readonly FlowScalar[];
  /** Where it ends in the text. */
  readonly end: number;
}

/**
 * Reads the mapping or the list that begins with the bracket at `from`, to the one that closes it;
 * as far as it can be read where it is no YAML.
 */
function readFlow(text: string, from: number): Flow {
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
const withoutQuotes = (scalar: string): string =>
  /^(["'])[\s\S]*\1$/.test(scalar) && scalar.length > 1 ? scalar.slice(1, -1) : scalar;
