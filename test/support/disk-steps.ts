import fs, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { basename, dirname } from 'node:path';

/**
 * Told the name of a step before it is taken, such as `rename keyring.json`; the step fails where
 * this throws, and waits for as long as it does.
 */
export type OnStep = (name: string) => void | Promise<void>;

const real = {
  open: fs.open,
  rename: fs.rename,
  link: fs.link,
  copyFile: fs.copyFile,
  rm: fs.rm,
  mkdir: fs.mkdir,
};
const watched = new Map<string, OnStep>();
/** By folder, the file whose name in it changed last: the folder is synced for that one. */
const lastNamed = new Map<string, string>();

/** Tells of each change of the disk below a folder that is made by `node:fs/promises`. */
export function onDiskSteps(folder: string, onStep: OnStep): void {
  if (watched.size === 0) install();
  watched.set(folder, onStep);
}

/** Fails at the named step, until it is told not to. */
export function failAt(folder: string, name: string, code = 'EIO') {
  const state = { on: true };
  onDiskSteps(folder, (step) => {
    if (state.on && step === name) throw diskError(code);
  });
  return state;
}

export const diskError = (code: string): Error =>
  Object.assign(new Error(`${code}: no way, write`), { code, syscall: 'write' });

/** The name of a file, for a temporary one that of the file which it is to replace. */
const nameOf = (path: string): string =>
  basename(path).replace(/^\.(.+)[.-][0-9a-f]{8}-[0-9a-f-]{27}$/, '$1');

async function step(verb: string, path: string, name = nameOf(path)): Promise<void> {
  for (const [folder, onStep] of watched) {
    if (path === folder || path.startsWith(`${folder}/`)) await onStep(`${verb} ${name}`);
  }
}

function install(): void {
  Object.assign(fs, {
    async open(path: string, flags?: string, mode?: number) {
      if (flags === 'wx') await step('create', path);
      if (flags === 'a') lastNamed.set(dirname(path), nameOf(path));
      return follow(await real.open(path, flags, mode), path);
    },
    async rename(from: string, to: string) {
      await step('rename', to);
      lastNamed.set(dirname(to), nameOf(to));
      return real.rename(from, to);
    },
    async link(from: string, to: string) {
      await step('link', to);
      return real.link(from, to);
    },
    async copyFile(from: string, to: string) {
      await step('copy', to);
      return real.copyFile(from, to);
    },
    async rm(path: string, options?: object) {
      if (!watched.has(path)) await step('remove', path);
      lastNamed.set(dirname(path), nameOf(path));
      return real.rm(path, options);
    },
    async mkdir(path: string, options?: object) {
      await step('make', path);
      return real.mkdir(path, options);
    },
  });
  syncBuiltinESMExports();
}

/** Tells of what is done to an open file, or to a folder that was opened to be synced. */
async function follow(file: FileHandle, path: string): Promise<FileHandle> {
  const isFolder = (await file.stat()).isDirectory();
  const syncs = async (): Promise<void> => {
    if (!isFolder) await step('sync', path);
    else await step('sync the folder of', path, lastNamed.get(path) ?? nameOf(path));
  };
  const told =
    <Args extends unknown[], T>(tell: () => Promise<void>, act: (...args: Args) => T) =>
    async (...args: Args) => {
      await tell();
      return act.apply(file, args);
    };
  return Object.assign(file, {
    writeFile: told(() => step('write', path), file.writeFile),
    appendFile: told(() => step('append to', path), file.appendFile),
    truncate: told(() => step('cut', path), file.truncate),
    chmod: told(() => step('chmod', path), file.chmod),
    sync: told(syncs, file.sync),
  });
}
