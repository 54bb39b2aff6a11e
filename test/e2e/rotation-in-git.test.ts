import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { StatusView, WhoView } from '../../src/rotation/admin.ts';
import { type Ran, run, succeeded } from '../compose/stack.ts';
import { outcomeOf } from '../support/ask.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { recordKey } from '../support/key-ledger.ts';
import { type Sidecar, startSidecar } from '../support/sidecar.ts';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const PAGE = new URL('../../docs/clients.md', import.meta.url);
const TOKEN = 'a-token-of-these-tests-0123456789';
/** What a change of the file may take until it rules. */
const WITHIN = { timeout: 3000, interval: 50 };

/** The blocks of a language under a heading of the page, in their order. */
async function blocksUnder(heading: string, language: string): Promise<readonly string[]> {
  const [, section = ''] = (await readFile(PAGE, 'utf8')).split(`\n## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  const blocks = own.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'));
  return [...blocks].map(([, text = '']) => text);
}

describe('a rotation in git, as docs/clients.md has it', () => {
  let folder: string;
  let sidecar: Sidecar;
  let yaml: readonly string[];
  let commands: readonly string[];
  const ends: (() => Promise<void>)[] = [];
  const keys = { old: '', new: '' };
  const digests = { old: '', new: '' };

  /** As in a shell of somebody who has the command, and the settings of the sidecar. */
  const shell = (script: string, input = ''): Promise<Ran> => {
    const settings = [
      'SIDECAR_STATE=none',
      `SIDECAR_ADMIN_TOKEN=${TOKEN}`,
      `SIDECAR_OPS_PORT=${sidecar?.opsPort ?? 4001}`,
    ].join(' ');
    const command = `sidecar() { env ${settings} '${process.execPath}' '${CLI}' "$@"; }`;
    return run('sh', ['-ec', `${command}\n${script}`], { cwd: folder, input });
  };
  const digestOf = async (key: string): Promise<string> =>
    succeeded(await shell('sidecar key digest', key)).trim();
  const write = (text = ''): Promise<void> =>
    writeFile(
      join(folder, 'clients.yaml'),
      text
        .replaceAll('sha256:<the old one>', digests.old)
        .replaceAll('sha256:<the new one>', digests.new),
    );
  const gauge = async (name: string): Promise<string | undefined> =>
    new RegExp(`^litellm_sidecar_clients_file_${name} (\\S+)$`, 'm').exec(
      await sidecar.metrics(),
    )?.[1];
  const tried = (key: string) => outcomeOf({ ...sidecar, key });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'in-git-'));
    ends.push(() => rm(folder, { recursive: true }));
    yaml = await blocksUnder('A rotation in git', 'yaml');
    commands = await blocksUnder('A rotation in git', 'sh');
    expect([yaml.length, commands.length]).toEqual([3, 4]);
    keys.old = succeeded(await shell('sidecar key new')).trim();
    recordKey(keys.old);
    digests.old = await digestOf(keys.old);
    await write(yaml[0]);
    const me = '-c user.name=test -c user.email=test@example.com';
    succeeded(await shell(`git init -q && git add . && git ${me} commit -qm "Name ci"`));
    succeeded(await shell('git config user.name test && git config user.email test@example.com'));
    const upstream = await startFakeUpstream((peer) => peer.answer('200 OK', '{}'));
    ends.push(upstream.stop);
    sidecar = await startSidecar(upstream.port, {
      SIDECAR_STATE: 'none',
      SIDECAR_CLIENTS: join(folder, 'clients.yaml'),
      SIDECAR_ADMIN_TOKEN: TOKEN,
      SIDECAR_FAILURES_PER_MINUTE: '0',
      LITELLM_MASTER_KEY: undefined,
    });
    ends.push(sidecar.stop);
  });
  afterAll(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  it('takes no request away from a client that does not stop', async () => {
    let presented = keys.old;
    let over = false;
    const outcomes = new Map<unknown, number>();
    const client = (async () => {
      while (!over) {
        const outcome = await tried(presented);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
    })();
    ends.push(() => {
      over = true;
      return client;
    });

    const one = await gauge('hash');

    // 1. A key and its digest.
    digests.new = succeeded(await shell(commands[0] ?? '')).trim();
    keys.new = (await readFile(join(folder, 'ci.key'), 'utf8')).trim();
    recordKey(keys.new);
    expect(digests.new).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await tried(keys.new)).toBe('401 unknown_key');

    // 2. Both are in the file.
    await write(yaml[1]);
    succeeded(await shell(commands[1] ?? ''));
    await vi.waitFor(async () => expect(await tried(keys.new)).toBe(200), WITHIN);
    expect(await tried(keys.old)).toBe(200);

    await vi.waitFor(async () => expect(await gauge('hash')).not.toBe(one), WITHIN);
    const two = await gauge('hash');

    // 3. The client moves, and from then on nobody comes with the old key.
    presented = keys.new;
    await tried(keys.new);
    const moved = Date.now();
    await vi.waitFor(async () => {
      const text = succeeded(await shell('sidecar who ci-2 --json'));
      const { generation } = JSON.parse(text) as WhoView;
      expect(Date.parse(generation.lastUsedAt ?? '')).toBeGreaterThan(moved);
    }, WITHIN);
    const shown = succeeded(await shell(commands[2] ?? ''));
    expect(shown).toMatch(/^ci +ci-2 +active /m);
    expect(shown).toMatch(/^ +ci-1 +active /m);
    const { generation } = JSON.parse(succeeded(await shell('sidecar who ci-1 --json'))) as WhoView;
    expect(Date.parse(generation.lastUsedAt ?? '')).toBeLessThanOrEqual(moved);
    const lastUse = async (id: string): Promise<number> => {
      const family = 'litellm_sidecar_key_last_used_timestamp_seconds';
      const row = new RegExp(`^${family}{client="ci",generation="${id}"} (\\S+)`, 'm');
      return Number(row.exec(await sidecar.metrics())?.[1]);
    };
    await vi.waitFor(async () => {
      expect(await lastUse('ci-2')).toBeGreaterThan(await lastUse('ci-1'));
    }, WITHIN);

    // 4. The old one goes.
    await write(yaml[2]);
    succeeded(await shell(commands[3] ?? ''));
    await vi.waitFor(async () => expect(await tried(keys.old)).toBe('401 revoked_key'), WITHIN);
    expect(await tried(keys.new)).toBe(200);
    over = true;
    await client;
    // A scrape is cached for a second.
    await vi.waitFor(async () => expect(await gauge('hash')).not.toBe(two), WITHIN);
    expect([...outcomes.keys()]).toEqual([200]);
    expect(
      succeeded(await shell('git log --format=%s'))
        .trim()
        .split('\n'),
    ).toEqual(['Take the old key of ci away', 'Give ci a second key', 'Name ci']);
  });

  it('is not undone by git revert: a key that is gone stays so', async () => {
    const hash = await gauge('hash');
    succeeded(await shell('git revert --no-edit HEAD'));
    await vi.waitFor(async () => {
      const { warnings } = JSON.parse(
        succeeded(await shell('sidecar status --json')),
      ) as StatusView;
      expect(warnings.map(({ code }) => code)).toEqual(['clients_file_mistaken']);
    }, WITHIN);
    await vi.waitFor(async () => expect(await gauge('up')).toBe('0'), WITHIN);
    expect(await gauge('hash')).toBe(hash);
    expect(await tried(keys.old)).toBe('401 revoked_key');
    expect(await tried(keys.new)).toBe(200);
  });
});
