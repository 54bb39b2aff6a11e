import { hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import {
  type Document,
  type DocumentOptions,
  isMap,
  isNode,
  isPair,
  isScalar,
  type Pair,
  type ParseOptions,
  parseDocument,
  Schema,
  type SchemaOptions,
  visit,
} from 'yaml';
import type * as z from 'zod';
import { isClientName, MASTER } from '../client-name.ts';
import { type FileClient, SCOPES, type Scope } from '../keyring/keyring.ts';
import { nearest } from '../text/nearest.ts';
import { createPlaces } from '../text/place.ts';
import { oneLine, redact } from '../text/safe.ts';
import { CLIENT_MEMBERS, membersAt } from './clients-file.ts';

/** Something in the clients file that cannot stand. Holds no key and no digest. */
export interface ClientsFileMistake {
  /** From 1; 0: it is of the file as a whole. */
  readonly line: number;
  readonly column: number;
  /** `ci.limits.rpm must be …`, in words for the operator. */
  readonly message: string;
  /** A file with keys is not there, which need not be where the clients file is only checked. */
  readonly isAbsentKeysFile?: true;
}

/** A client as it stands in the text: what its keys file holds is not known yet. */
export interface WrittenClient extends FileClient {
  /** The path that `keys_file` says; then there are no digests here. */
  readonly keysFile: string | undefined;
  /** Where its name stands. */
  readonly offset: number;
}

/** All clients of a text, or all of its mistakes. */
export interface ClientsText {
  readonly clients: readonly WrittenClient[];
  readonly mistakes: readonly ClientsFileMistake[];
}

/** A mistake, with its place counted from the beginning of the text that was looked at. */
interface Slip {
  readonly offset: number;
  readonly message: string;
}

/** What a piece of the text says; its offsets count from the piece's own beginning. */
interface Piece {
  readonly clients: readonly WrittenClient[];
  readonly slips: readonly Slip[];
  /** Of those that are at fault. */
  readonly names: readonly Name[];
}

interface Name {
  readonly name: string;
  readonly offset: number;
}

/** So many clients are read before others have their turn: 2 ms of the serving thread's time. */
const READ_AT_ONCE = 4;

/**
 * Reads the text of a clients file. A client whose lines are as they were is not read again: of
 * 1,000 clients a text of 350 kB takes 110 ms, and 2 ms where one of them changed. That goes by
 * the lines, for a file as people write it and `sidecar clients export` does, with each client's
 * name alone on a line; a file in another form, such as JSON, is read in one piece.
 */
export function createClientsReader() {
  let known = new Map<string, Piece | WrittenClient>();
  return async (text: string): Promise<ClientsText> => {
    const parts = partsOf(text);
    if (parts === undefined) return toText(text, [[0, readPiece(text, 'clients')]]);
    const next: typeof known = new Map();
    const pieces: (readonly [start: number, piece: Piece])[] = [];
    let fresh = 0;
    for (const [start, end] of parts) {
      const part = text.slice(start, end);
      // The digest stands for the part: a slice would keep the whole text in memory.
      const name = hash('sha256', part, 'base64url');
      let piece = known.get(name);
      if (piece === undefined) {
        piece = leanOf(readPiece(part, 'client'));
        fresh += 1;
        if (fresh % READ_AT_ONCE === 0) await setImmediate();
      }
      next.set(name, piece);
      pieces.push([start, 'slips' in piece ? piece : { ...NOTHING, clients: [piece] }]);
    }
    known = next;
    return toText(text, pieces);
  };
}

/** What is kept of a thousand clients is no larger than it must be: of a good one, itself alone. */
const leanOf = (piece: Piece): Piece | WrittenClient =>
  piece.slips.length === 0 ? (piece.clients[0] ?? piece) : piece;

const BLANK = String.raw`(?:[ \t]*(?:#[^\n]*)?\r?\n)*`;
/** Blank lines, comments, at most one `---`, and `clients:` alone on its line. */
const HEAD = new RegExp(
  String.raw`^${BLANK}(?:---[ \t]*\r?\n${BLANK})?clients:[ \t]*(?:#[^\n]*)?\r?\n`,
);

/** A line that is neither blank nor a comment: how deep it stands, and how it begins. */
const CONTENT = /^( *)([^\s#])/gm;

/** Behind these a line begins for a regular expression, and none for YAML: a comment goes on. */
const NO_LINE_OF_YAML = /[\u2028\u2029]|\r(?!\n)/;

/**
 * Where the lines of each client begin and end. A block mapping's next key stands as deep as its
 * first one, and whatever belongs to a value stands deeper (YAML 1.2.2, §8.2.2). Undefined: the
 * file is written in another way.
 */
function partsOf(text: string): (readonly [start: number, end: number])[] | undefined {
  const head = HEAD.exec(text)?.[0];
  if (head === undefined || NO_LINE_OF_YAML.test(text)) return undefined;
  const starts: number[] = [];
  let depth = 0;
  CONTENT.lastIndex = head.length;
  for (let line = CONTENT.exec(text); line !== null; line = CONTENT.exec(text)) {
    const [{ length }, mark = ''] = [line[1] ?? '', line[2]];
    if (depth === 0) depth = length;
    if (length === 0 || length < depth) return undefined;
    if (length > depth) continue;
    if (!/["'\w.]/.test(mark)) return undefined;
    starts.push(line.index);
  }
  if (starts.length === 0) return undefined;
  return starts.map((start, place) => [start, starts[place + 1] ?? text.length]);
}

/** Puts the pieces together: their places are those of the whole text now. */
function toText(
  text: string,
  pieces: readonly (readonly [start: number, piece: Piece])[],
): ClientsText {
  const clients: WrittenClient[] = [];
  const slips: Slip[] = [];
  const names = new Set<string>();
  for (const [start, piece] of pieces) {
    for (const slip of piece.slips) slips.push({ ...slip, offset: start + slip.offset });
    for (const { name, offset } of [...piece.clients, ...piece.names]) {
      if (names.has(name)) slips.push({ offset: start + offset, message: TWICE });
      names.add(name);
    }
    for (const client of piece.clients) {
      clients.push({ ...client, offset: start + client.offset });
    }
  }
  slips.sort((one, other) => one.offset - other.offset);
  const placeOf = createPlaces(text);
  return {
    clients,
    mistakes: slips.map(({ offset, message }) => ({ ...placeOf(offset), message })),
  };
}

const OPTIONS: ParseOptions & DocumentOptions & SchemaOptions = {
  ...{ version: '1.2', stringKeys: true, strict: true },
  // The parser compares each name with all before it; `brokenIn` does that by a set.
  uniqueKeys: false,
  // Silent, it would say nothing of a second document either.
  ...{ logLevel: 'error', prettyErrors: false },
  // One for all pieces: to make one takes as long as to read a client.
  schema: new Schema({ schema: 'core', merge: false }),
};

const NOTHING: Piece = { clients: [], slips: [], names: [] };

/** @param holds the whole file, or the lines of one client */
function readPiece(text: string, holds: 'clients' | 'client'): Piece {
  try {
    const document = parseDocument(text, OPTIONS);
    const broken = brokenIn(document);
    if (broken.length > 0) return { ...NOTHING, slips: broken };
    const found = holds === 'client' ? clientIn(document) : clientsIn(document);
    if (Array.isArray(found)) return { ...NOTHING, slips: found };
    return readClients(document, isMap(found) ? found.items : []);
  } catch (error) {
    // The parser calls itself for what stands in something else, and the stack has an end.
    if (!(error instanceof RangeError)) throw error;
    return { ...NOTHING, slips: [{ offset: 0, message: TOO_DEEP }] };
  }
}

/** What is no YAML, or more of it than a list of clients needs. */
function brokenIn(document: Document.Parsed): Slip[] {
  const [first] = [...document.errors, ...document.warnings];
  if (first !== undefined) {
    const { code, message, pos } = first;
    // Behind a colon the parser repeats what stands there, which may be a key in the wrong place.
    const [plain = ''] = message.split(/(?<=\w): /, 1);
    const words = /call stack/.test(message) ? TOO_DEEP : oneLine(redact(plain), 120);
    // What comes behind is mostly said of the same fault.
    return [{ offset: pos[0], message: YAML_FAULTS[code] ?? `this is no YAML: ${words}` }];
  }
  const slips: Slip[] = [];
  visit(document, {
    Alias: (_key, { range }) => {
      const message = 'an alias stands for what is written elsewhere: write it out here';
      slips.push({ offset: range?.[0] ?? 0, message });
    },
    Map(_key, { items }) {
      const names = new Set<string>();
      for (const { key } of items) {
        const name = nameIn(key);
        if (names.has(name)) slips.push({ offset: offsetOf(key), message: TWICE });
        names.add(name);
      }
    },
  });
  return slips;
}

const TWICE = 'this name stands there twice';
const TOO_DEEP = 'it is nested too deeply';

/** What the parser would say in many words, or by repeating what stands there. */
const YAML_FAULTS: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'there is a tab: only spaces indent YAML',
  BAD_ALIAS: 'an alias stands for what is written elsewhere: write it out here',
  MULTIPLE_DOCS: 'a second document begins here: the file holds one',
  NON_STRING_KEY: 'a name must be a text',
  BAD_DIRECTIVE: 'no directive is read: leave it out',
  BAD_DQ_ESCAPE: 'this is no escape sequence of YAML: write a backslash twice',
  TAG_RESOLVE_FAILED: 'this tag is not known: leave it out',
};

/** The map that a client's lines are, or what is wrong with them. */
const clientIn = ({ contents }: Document.Parsed): unknown =>
  isMap(contents)
    ? contents
    : [{ offset: offsetOf(contents), message: 'it must be the name of a client and a colon' }];

/** The map of clients, or what stands there in its place. */
function clientsIn({ contents }: Document.Parsed): unknown {
  const example = 'clients: {ci: {keys: [sha256:…]}}';
  if (!isMap(contents)) {
    const message = contents === null ? 'it is empty: for no clients write clients: {}' : undefined;
    return [{ offset: 0, message: message ?? `it must be a map, such as ${example}` }];
  }
  const slips = contents.items.flatMap(({ key }) => {
    const name = nameIn(key);
    return name === 'clients'
      ? []
      : [{ offset: offsetOf(key), message: unknownName(name, ['clients']) }];
  });
  if (slips.length > 0) return slips;
  const clients = contents.get('clients', true);
  if (isMap(clients)) return clients;
  const offset = offsetOf(clients);
  return [{ offset, message: 'clients must be a map; for no clients write clients: {}' }];
}

const offsetOf = (node: unknown): number => (isNode(node) ? (node.range?.[0] ?? 0) : 0);

function readClients(document: Document.Parsed, pairs: readonly Pair[]): Piece {
  const clients: WrittenClient[] = [];
  const slips: Slip[] = [];
  const names: Name[] = [];
  for (const pair of pairs) {
    const found = readClient(document, pair);
    if (Array.isArray(found)) {
      slips.push(...found);
      names.push({ name: nameIn(pair.key), offset: offsetOf(pair.key) });
    } else {
      clients.push(found);
    }
  }
  return { clients, slips, names };
}

const nameIn = (key: unknown): string => (isScalar(key) ? String(key.value) : '');

function readClient(document: Document.Parsed, { key, value }: Pair): WrittenClient | Slip[] {
  const name = nameIn(key);
  const offset = offsetOf(key);
  const shown = isClientName(name) ? name : 'a client';
  const result = CLIENT_MEMBERS.safeParse(isNode(value) ? value.toJS(document) : value);
  const slips: Slip[] = [
    ...[...nameFaults(name), ...keysFaults(value, shown)].map((message) => ({ offset, message })),
    ...firstOfEach(result.error?.issues ?? []).flatMap((issue) =>
      slipsOf(issue, value, shown, offset),
    ),
  ];
  if (!result.success || slips.length > 0) return slips;
  const { keys = [], scopes = ['inference'], ...rest } = result.data;
  const twice = keys.findIndex((digest, at) => keys.indexOf(digest) !== at);
  if (twice >= 0) {
    const place = nodeAt(value, ['keys', twice]);
    return [{ offset: offsetOf(place), message: `${shown}.keys has this key twice` }];
  }
  return {
    name,
    digests: keys,
    keysFile: rest.keys_file,
    scopes: SCOPE_LISTS.find((list) => isSameSet(list, scopes)) ?? scopes,
    allowFrom: rest.allow_from ?? NONE,
    expiresAt: rest.expires,
    namesEndUsers: rest.names_end_users ?? false,
    limits: rest.limits,
    models: rest.models ?? NONE,
    offset,
  };
}

const NONE: readonly string[] = [];
/** Every list of scopes, in the order of `SCOPES`: a thousand clients share them. */
const SCOPE_LISTS: readonly (readonly Scope[])[] = Array.from(
  { length: 2 ** SCOPES.length },
  (_, bits) => SCOPES.filter((_scope, at) => (bits >> at) % 2 === 1),
);

const isSameSet = (list: readonly Scope[], scopes: readonly Scope[]): boolean =>
  list.every((scope) => scopes.includes(scope)) && scopes.every((scope) => list.includes(scope));

function keysFaults(members: unknown, client: string): string[] {
  if (!isMap(members)) return [];
  const hasKeys = members.has('keys');
  if (hasKeys !== members.has('keys_file')) return [];
  return [`${client} has ${hasKeys ? 'keys and keys_file: one of them is enough' : 'no keys'}`];
}

const isCollection = (node: unknown): node is { readonly items: readonly unknown[] } =>
  isNode(node) && 'items' in node;

function nameFaults(name: string): string[] {
  if (name === MASTER) {
    return [`${MASTER} stands in no file: its key is LITELLM_MASTER_KEY`];
  }
  if (isClientName(name)) return [];
  if (name === '<<') return ['merge keys are not read: write it out'];
  return [
    'a client name has 1 to 39 lower-case letters, digits and hyphens, begins with a letter and ' +
      'does not end with a hyphen',
  ];
}

/** Of issues with one value the first alone: a text that is no list has too many items, too. */
function firstOfEach(issues: readonly z.core.$ZodIssue[]): readonly z.core.$ZodIssue[] {
  const seen = new Set<string>();
  return issues.filter(({ path }) => seen.size < seen.add(path.join()).size);
}

/** What one issue of zod says to people, and where. */
function slipsOf(issue: z.core.$ZodIssue, value: unknown, client: string, offset: number): Slip[] {
  const { path, message } = issue;
  const place = nodeAt(value, path) ?? value;
  const at = offsetOf(place) || offset;
  const words = [client, ...path.map((part) => (typeof part === 'number' ? `[${part}]` : part))];
  const where = words.join('.').replaceAll('.[', '[');
  if (issue.code !== 'unrecognized_keys') return [{ offset: at, message: `${where} ${message}` }];
  const known = membersAt(path);
  const places = new Map((isMap(place) ? place.items : []).map(({ key }) => [nameIn(key), key]));
  return issue.keys.map((name) => {
    const message = `${where}: ${unknownName(name, known)}`;
    return { offset: offsetOf(places.get(name)) || at, message };
  });
}

/** The node that a path leads to, or the last one on the way. */
function nodeAt(from: unknown, path: readonly PropertyKey[]): unknown {
  let node = from;
  for (const part of path) {
    if (!isCollection(node)) return node;
    const next =
      typeof part === 'number'
        ? node.items[part]
        : node.items.filter(isPair).find(({ key }) => isScalar(key) && key.value === part)?.value;
    if (!isNode(next)) return node;
    node = next;
  }
  return node;
}

/** The name is repeated only where it cannot be a key in the wrong place. */
function unknownName(name: string, known: readonly string[]): string {
  if (name === '<<') return 'merge keys are not read: write it out';
  const near = nearest(name, known);
  const shown = /^[\w-]{1,30}$/.test(name) && redact(name) === name ? ` ${name}` : '';
  const hint = near === undefined ? `it may be ${known.join(', ')}` : `did you mean ${near}?`;
  return `there is no member${shown} (${hint})`;
}
