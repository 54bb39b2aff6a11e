import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digestOf } from '../keyring/key.ts';
import { Secret } from '../secret.ts';
import { type ConfigFile, digestOfTree, readConfigTree } from './config.ts';

export type SlotName = 'a' | 'b';

/** What a LiteLLM runs with. */
export interface SlotContent {
  readonly key: Secret;
  /** `config.yaml` or the folder that holds it; undefined: LiteLLM runs with its own arguments. */
  readonly config: string | undefined;
}

/** What stands in a slot, in a form that may be logged and compared. */
export interface SlotDigests {
  /** The text of its `id`: another one with each `place` that changed something. */
  readonly id: string;
  /** As `digestConfig` makes it; '' where the slot holds the key alone. */
  readonly configDigest: string;
  /** As the keyring digests keys. */
  readonly keyDigest: string;
}

/**
 * The sidecar's side of the contract with the launcher, which only reads:
 *
 * `a/` is there: a LiteLLM runs in slot a with the key in `a/master.key` and the configuration in
 * `a/config/`. `a/` is gone: that LiteLLM is told to stop. `a/id` differs: the one, then the other.
 *
 * A slot comes and goes by one rename and never changes in between, so a crash leaves it whole or
 * leaves nothing. Every verb can be done twice. Verbs run one after the other; two processes that
 * write the same folder are kept apart by the lock on the state folder, not here.
 */
export interface Slots {
  /**
   * Puts the slot in place, durably. A slot that holds the same already is left alone, so that
   * its LiteLLM runs on; one that holds something else is replaced.
   * @throws ConfigTreeError where the configuration cannot be used; the slot is as it was.
   */
  place(slot: SlotName, content: SlotContent): Promise<void>;
  /** Takes the slot away, durably, and deletes what was in it. */
  remove(slot: SlotName): Promise<void>;
  /**
   * Undefined: the slot is empty.
   *
   * @throws Error of Node's fs, or ConfigTreeError, where it is not whole
   */
  read(slot: SlotName): Promise<SlotDigests | undefined>;
  /** Where a slot's configuration stands, for a `place` elsewhere; undefined: it has none. */
  configOf(slot: SlotName): Promise<string | undefined>;
  /** @throws ConfigTreeError as `place` would. */
  digestConfig(path: string): Promise<string>;
}

// The launcher runs as another user in the same group. The group itself comes from the setgid bit
// of the slots folder, so that nobody here needs to know its number.
const FILE_MODE = 0o640;
const FOLDER_MODE = 0o750;

const CONFIG = 'config';
const LEFTOVER = /^\.[ab]\.(tmp|gone)-/;

/** @param options.folder The folder of the slots; it exists already. */
export const createSlots = (options: { readonly folder: string }): Slots => {
  const { folder } = options;
  const slotFolder = (slot: SlotName): string => join(folder, slot);
  const hidden = (slot: SlotName, kind: 'tmp' | 'gone'): string =>
    join(folder, `.${slot}.${kind}-${randomUUID()}`);

  /** What a crash left behind holds keys; nobody needs it. */
  const sweep = async (): Promise<void> => {
    const leftovers = (await readdir(folder)).filter((name) => LEFTOVER.test(name));
    for (const name of leftovers) await rm(join(folder, name), { recursive: true, force: true });
  };

  const place = async (slot: SlotName, { key, config }: SlotContent): Promise<void> => {
    if (key.reveal() === '') throw new RangeError('a slot needs a key');
    const files = config === undefined ? undefined : await readConfigTree(config);
    // One that somebody damaged is replaced like any other.
    const current = await digestsOf(slotFolder(slot)).catch(() => undefined);
    if (current !== undefined && same(current, digestsOfContent(key, files))) return;

    const next = hidden(slot, 'tmp');
    try {
      await write(next, key, files);
      // A folder with something in it cannot be renamed over (rename(2), ENOTEMPTY).
      await vacate(slot);
      await rename(next, slotFolder(slot));
    } catch (error) {
      await rm(next, { recursive: true, force: true });
      throw error;
    }
    await sync(folder);
    await sweep();
  };

  const vacate = async (slot: SlotName): Promise<void> => {
    try {
      await rename(slotFolder(slot), hidden(slot, 'gone'));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  };

  const remove = async (slot: SlotName): Promise<void> => {
    await vacate(slot);
    await sync(folder);
    await sweep();
  };

  const inTurn = createTurns(sweep);

  return {
    place: (slot, content) => inTurn(() => place(slot, content)),
    remove: (slot) => inTurn(() => remove(slot)),
    read: (slot) => inTurn(() => digestsOf(slotFolder(slot))),
    configOf: async (slot) => {
      const config = join(slotFolder(slot), CONFIG);
      return (await exists(config)) ? config : undefined;
    },
    digestConfig: async (path) => digestOfTree(await readConfigTree(path)),
  };
};

/** Does one thing at a time; before the first `prepare`, for what an earlier life left over. */
const createTurns = (prepare: () => Promise<void>) => {
  let last: Promise<unknown> = Promise.resolve();
  let prepared = false;
  return <Result>(verb: () => Promise<Result>): Promise<Result> => {
    const turn = last.then(async () => {
      if (!prepared) await prepare();
      prepared = true;
      return verb();
    });
    last = turn.catch(() => undefined);
    return turn;
  };
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
  // Inode numbers are used again at once, so the launcher tells one folder from the next by this.
  await put('id', `${randomUUID()}\n`);
  await put('master.key', `${key.reveal()}\n`);
  for (const { path, bytes } of files ?? []) await put(join(CONFIG, path), bytes);
  // Last: a folder's setgid bit must be there while its contents are made, and chmod clears it.
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
