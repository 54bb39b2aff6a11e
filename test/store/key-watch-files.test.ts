import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir, open, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, it as test, vi } from 'vitest';
import { openDeclaredPlaces } from '../../src/config/load.ts';
import { createKeyWatch } from '../../src/store/key-watch.ts';

/** How soon an edit has to be noticed. */
const SOON = { timeout: 3000, interval: 20 };

interface Watched {
  /** Its folder, `<root>/config`. */
  readonly folder: string;
  /** Everything that settled so far: the key's text, `nothing` or `fault`. */
  readonly told: readonly string[];
  /** Waits until this settled last. */
  settles(last: string): Promise<void>;
}

/** Watches `.env` of a folder, or with `keyFile` the file `master.key` in it. */
async function withWatch(
  kind: 'dotenv' | 'keyFile',
  prepare: (folder: string) => void,
  work: (watched: Watched) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'declared-watch-'));
  const folder = join(root, 'config');
  mkdirSync(folder);
  prepare(folder);
  const env = {
    SIDECAR_ENV_FILE: 'config/.env',
    ...(kind === 'keyFile' && { LITELLM_MASTER_KEY_FILE: './config/master.key' }),
  };
  const told: string[] = [];
  const watch = createKeyWatch({
    places: openDeclaredPlaces({ env, cwd: root }),
    onSettled: (reading) => {
      if ('fault' in reading) told.push('fault');
      else told.push(reading.value?.key.reveal() ?? 'nothing');
    },
  });
  const settles = (last: string): Promise<void> =>
    vi.waitFor(() => {
      if (told.at(-1) !== last) throw new Error(`${last} did not settle: ${told.join()}`);
    }, SOON);
  try {
    await work({ folder, told, settles });
  } finally {
    watch.stop();
    rmSync(root, { recursive: true, force: true });
  }
}

const line = (key: string): string => `A=1\nLITELLM_MASTER_KEY=${key}\n`;
const withOne = (folder: string): void => writeFileSync(join(folder, '.env'), line('sk-one'));
const keyOne = (folder: string): void => writeFileSync(join(folder, 'master.key'), 'sk-one\n');

describe.concurrent('a declared key is noticed within three seconds', () => {
  test('written over', async () => {
    await withWatch('dotenv', withOne, async ({ folder, settles }) => {
      await settles('sk-one');
      await writeFile(join(folder, '.env'), line('sk-two'));
      await settles('sk-two');
    });
  });

  test('renamed over, as editors save', async () => {
    await withWatch('dotenv', withOne, async ({ folder, settles }) => {
      await settles('sk-one');
      await writeFile(join(folder, '.env.swp'), line('sk-two'));
      await rename(join(folder, '.env.swp'), join(folder, '.env'));
      await settles('sk-two');
    });
  });

  test('written in pieces, of which none counts', async () => {
    await withWatch('keyFile', keyOne, async ({ folder, told, settles }) => {
      await settles('sk-one');
      const file = await open(join(folder, 'master.key'), 'w');
      for (const piece of ['sk', '-t', 'wo-', 'whole']) {
        await file.write(piece);
        await wait(100);
      }
      await file.close();
      await settles('sk-two-whole');
      if (told.length !== 2) throw new Error(told.join());
    });
  });

  test('swapped as Kubernetes swaps the folder of a secret', async () => {
    const version = (folder: string, name: string, key: string): void => {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, 'master.key'), key);
    };
    const mounted = (folder: string): void => {
      version(folder, '..2026_1', 'sk-one');
      symlinkSync('..2026_1', join(folder, '..data'));
      symlinkSync('..data/master.key', join(folder, 'master.key'));
    };
    await withWatch('keyFile', mounted, async ({ folder, told, settles }) => {
      await settles('sk-one');
      version(folder, '..2026_2', 'sk-two');
      await symlink('..2026_2', join(folder, '..data_tmp'));
      await rename(join(folder, '..data_tmp'), join(folder, '..data'));
      await rm(join(folder, '..2026_1'), { recursive: true });
      await settles('sk-two');
      if (told.length !== 2) throw new Error(told.join());
    });
  });

  test('removed, and back', async () => {
    await withWatch('keyFile', keyOne, async ({ folder, settles }) => {
      await settles('sk-one');
      await unlink(join(folder, 'master.key'));
      await settles('fault');
      await writeFile(join(folder, 'master.key'), 'sk-two');
      await settles('sk-two');
    });
  });

  test('edited a thousand times, and told a few times at most', async () => {
    await withWatch('dotenv', withOne, async ({ folder, told, settles }) => {
      await settles('sk-one');
      for (let times = 1; times <= 1000; times++) {
        await writeFile(join(folder, '.env'), line(`sk-${times}`));
      }
      await settles('sk-1000');
      if (told.length > 5) throw new Error(told.join());
    });
  });
});

describe.concurrent('a folder that goes is noticed', () => {
  test('and what is in it when it comes back', async () => {
    await withWatch('dotenv', withOne, async ({ folder, settles }) => {
      await settles('sk-one');
      await rm(folder, { recursive: true });
      await settles('fault');
      await mkdir(folder);
      await writeFile(join(folder, '.env'), line('sk-two'));
      await settles('sk-two');
      await writeFile(join(folder, '.env'), line('sk-three'));
      await settles('sk-three');
    });
  });

  test('and another one in its place', async () => {
    await withWatch('dotenv', withOne, async ({ folder, settles }) => {
      await settles('sk-one');
      mkdirSync(`${folder}2`);
      writeFileSync(join(`${folder}2`, '.env'), line('sk-two'));
      renameSync(folder, `${folder}1`);
      renameSync(`${folder}2`, folder);
      await settles('sk-two');
    });
  });
});
