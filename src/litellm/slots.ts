import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digestOf } from '../keyring/key.ts';
import { Secret } from '../secret.ts';
import { createTurns } from '../turns.ts';
import { type ConfigFile, digestOfTree, readConfigTree } from './config.ts';

export type SlotName = 'a' | 'b';

/** What is under way on the LiteLLM of a slot. */
export interface SlotLoad {
  /** Requests whose answer has not ended, streams included. */
  readonly requests: number;
  readonly websockets: number;
  /** MCP sessions that this LiteLLM issued and that were used lately. */
  readonly mcpSessions: number;
}

/** What a LiteLLM runs with. */
interface SlotContent {
  readonly key: Secret;
  /** `config.yaml` or the folder that holds it; undefined: LiteLLM runs with its own arguments. */
  readonly config: string | undefined;
}

/** What stands in a slot, in a form that may be logged and compared; no key can be read from it. */
export interface SlotDigests {
  /** The text of the slot's file `id`, which each `place` that changed something makes anew. */
  readonly id: string;
  /** As `digestOfTree` makes it; '' where the slot holds the key alone. */
  readonly configDigest: string;
  /** As the keyring digests keys. */
  readonly keyDigest: string;
}

// The launcher runs as another user in the same group. The group itself comes from the setgid bit
// of the slots folder, so that nobody here needs to know its number.
const FILE_MODE = 0o640;
const FOLDER_MODE = 0o750;

/** The folder of a slot's configuration, in the slot. */
const CONFIG = 'config';

/**
 * The sidecar's side of the contract with the launcher, which only reads:
 *
 * `a/` is there: a LiteLLM runs in slot a with the key in `a/master.key` and the configuration in
 * `a/config/`. `a/` is gone: that LiteLLM is told to stop. `a/id` differs from what it was: the old
 * LiteLLM is told to stop, and a new one is started.
 *
 * A slot comes and goes by one rename and never changes in between, so a crash leaves a whole slot
 * or none. Every verb can be done twice. Verbs run one after the other; two processes that write
 * the same folder are kept apart by the lock on the state folder, not here.
 *
 * @param options.folder The folder of the slots; it exists already.
 */
export const createSlots = ({ folder }: { readonly folder: string }) => {
  const turns = createTurns();
  let swept = false;
  const inTurn = <Result>(verb: () => Promise<Result>): Promise<Result> =>
    turns(async () => {
      if (!swept) await sweep(folder);
      swept = true;
      return await verb();
    });

  const place = async (slot: SlotName, { key, config }: SlotContent): Promise<void> => {
    if (key.reveal() === '') throw new RangeError('a slot needs a key');
    const files = config === undefined ? undefined : await readConfigTree(config);
    // A slot that somebody damaged is replaced like any other.
    const current = await digestsOf(join(folder, slot)).catch(() => undefined);
    if (current !== undefined && same(current, digestsOfContent(key, files))) return;

    const next = hidden(folder, slot, 'tmp');
    try {
      await write(next, key, files);
      // A folder cannot be renamed onto one that has something in it (rename(2), ENOTEMPTY).
      await vacate(folder, slot);
      await rename(next, join(folder, slot));
    } catch (error) {
      await rm(next, { recursive: true, force: true });
      throw error;
    }
    await sync(folder);
    await sweep(folder);
  };

  return {
    /**
     * Puts the slot in place, durably. A slot that holds the same content already is left alone, so
     * that its LiteLLM runs on; a slot with another content is replaced.
     *
     * @throws ConfigTreeError where the configuration cannot be used; the slot is as it was.
     */
    place: (slot: SlotName, content: SlotContent) => inTurn(() => place(slot, content)),
    /** Takes the slot away, durably, and deletes what was in it. */
    remove: (slot: SlotName) =>
      inTurn(async () => {
        await vacate(folder, slot);
        await sync(folder);
        await sweep(folder);
      }),
    /** Undefined: it is empty. @throws Error of fs or ConfigTreeError, where a part is missing */
    read: (slot: SlotName) => inTurn(() => digestsOf(join(folder, slot))),
    /** Where a slot's configuration stands, for a `place` elsewhere; undefined: it has none. */
    async configOf(slot: SlotName): Promise<string | undefined> {
      const config = join(folder, slot, CONFIG);
      return (await exists(config)) ? config : undefined;
    },
  };
};

export type Slots = ReturnType<typeof createSlots>;

/** A name for what will be a slot, or was one; it begins with a dot, so no launcher looks at it. */
const hidden = (folder: string, slot: SlotName, kind: 'tmp' | 'gone'): string =>
  join(folder, `.${slot}.${kind}-${randomUUID()}`);

const vacate = async (folder: string, slot: SlotName): Promise<void> => {
  try {
    await rename(join(folder, slot), hidden(folder, slot, 'gone'));
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
};

const LEFTOVER = /^\.[ab]\.(tmp|gone)-/;

/** Deletes the hidden folders, with the keys in them, that a verb or a crash left over. */
const sweep = async (folder: string): Promise<void> => {
  const leftovers = (await readdir(folder)).filter((name) => LEFTOVER.test(name));
  for (const name of leftovers) await rm(join(folder, name), { recursive: true, force: true });
};

/** Writes a slot's folder whole: contents, modes whatever the umask, and all of it on the disk. */
const write = async (
  folder: string,
  key: Secret,
  files: readonly ConfigFile[] | undefined,
): Promise<void> => {
  const folders = new Set([folder]);
  await mkdir(folder);
  const put = async (path: string, content: string | Buffer): Promise<void> => {
    const target = join(folder, path);
    for (let up = dirname(target); !folders.has(up); up = dirname(up)) folders.add(up);
    await mkdir(dirname(target), { recursive: true });
    await writeDurably(target, content);
  };
  // The launcher tells one folder from the next by `id`: inode numbers are used again at once.
  await put('id', `${randomUUID()}\n`);
  await put('master.key', `${key.reveal()}\n`);
  for (const { path, bytes } of files ?? []) await put(join(CONFIG, path), bytes);
  // Folders get their mode last: chmod clears the setgid bit, which their contents' group is from.
  for (const each of folders) await sync(each, FOLDER_MODE);
};

const writeDurably = async (path: string, content: string | Buffer): Promise<void> => {
  const file = await open(path, 'wx', FILE_MODE);
  try {
    await file.writeFile(content);
    await file.chmod(FILE_MODE);
    await file.sync();
  } finally {
    await file.close();
  }
};

const sync = async (folder: string, mode?: number): Promise<void> => {
  const handle = await open(folder, 'r');
  try {
    if (mode !== undefined) await handle.chmod(mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
};

const digestsOf = async (folder: string): Promise<SlotDigests | undefined> => {
  if (!(await exists(folder))) return undefined;
  const id = await readFile(join(folder, 'id'), 'utf8');
  const key = await readFile(join(folder, 'master.key'), 'utf8');
  const config = join(folder, CONFIG);
  const files = (await exists(config)) ? await readConfigTree(config) : undefined;
  return { id: id.trim(), ...digestsOfContent(new Secret(key.trim()), files) };
};

type ContentDigests = Omit<SlotDigests, 'id'>;

const digestsOfContent = (
  key: Secret,
  files: readonly ConfigFile[] | undefined,
): ContentDigests => ({
  configDigest: files === undefined ? '' : digestOfTree(files),
  keyDigest: digestOf(key.reveal()),
});

const same = (one: ContentDigests, other: ContentDigests): boolean =>
  one.configDigest === other.configDigest && one.keyDigest === other.keyDigest;

const exists = async (path: string): Promise<boolean> => {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
};

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';
