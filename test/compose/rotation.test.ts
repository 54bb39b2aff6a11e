import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import type { GenerationView, RotateView, StatusView, WhoView } from '../../src/rotation/admin.ts';
import { recordKey } from '../support/key-ledger.ts';
import { type Loops, startLoops } from './openai-loops.ts';
import { readSlowly } from './slow-stream.ts';
import { containersOf, createStack, type Stack, succeeded, UP } from './stack.ts';
import { whatFailed } from './what-failed.ts';

/** Tests in their order, on one stack: each leaves its keys to the next. */
describe('a key rotates under clients that do not stop', () => {
  let stack: Stack;
  let url: string;
  let loops: Loops;
  /** What the loops present. */
  let key = generateKey();
  const keys = { expired: key, revoked: '' };

  const envWith = (declared: string): string =>
    [
      `LITELLM_MASTER_KEY=${declared}`,
      'NVIDIA_NIM_API_KEY=nvapi-of-the-operator',
      'NVIDIA_NIM_API_BASE=http://provider:8080/v1',
      'SIDECAR_DRAIN_DELAY=0',
      // All callers have one address here, and keys that ended are tried on purpose.
      'SIDECAR_FAILURES_PER_MINUTE=0',
      '',
    ].join('\n');
  const sidecar = (...args: readonly string[]) =>
    stack.compose(['exec', '-T', 'sidecar', 'sidecar', ...args]);
  const json = async <T>(...args: readonly string[]): Promise<T> =>
    JSON.parse(succeeded(await sidecar(...args, '--json'))) as T;
  const rotate = async (...args: readonly string[]): Promise<RotateView & { key: string }> => {
    const view = await json<RotateView>('rotate', ...args);
    const made = view.key ?? '';
    expect(made).toMatch(/^sk-[A-Za-z0-9]{48}$/);
    recordKey(made);
    return { ...view, key: made };
  };
  /** 200, or the code of the refusal. */
  const tell = async (presented: string): Promise<string> => {
    const headers = { authorization: `Bearer ${presented}` };
    const answer = await fetch(`${url}/v1/models`, { headers });
    await answer.text();
    return answer.headers.get('x-sidecar-refusal') ?? String(answer.status);
  };
  /** The generation, once a newer one was used: its deadline does not move any more. */
  const settled = (id: string): Promise<GenerationView & { validUntil: string }> =>
    vi.waitFor(
      async () => {
        const { generation } = await json<WhoView>('who', id);
        const { validUntil, clockStarted } = generation;
        if (validUntil === null || !clockStarted) throw new Error(`the clock of ${id} stands`);
        return { ...generation, validUntil };
      },
      { timeout: 20_000 },
    );

  beforeAll(async () => {
    stack = await createStack({ '.env': envWith(key) }, 'volumes: ["./published:/published"]');
    await mkdir(join(stack.folder, 'published'));
    // The sidecar is another user.
    await chmod(join(stack.folder, 'published'), 0o777);
    succeeded(await stack.compose(UP));
    url = await stack.url(4000);
    loops = startLoops(`${url}/v1`, () => key);
  });

  afterAll(async () => {
    await loops?.stop();
    await stack?.clear();
  });

  it('sidecar rotate: the old key is good until the printed time, then expired', async () => {
    await loops.round();
    const old = key;
    const rotated = await rotate('--grace', '30s');
    expect(rotated.previous).toMatchObject([
      { id: 'master-1', state: 'retiring', graceMs: 30_000 },
    ]);
    await loops.round();
    const moved = Date.now();
    key = rotated.key;
    const { validUntil } = await settled('master-1');
    const end = Date.parse(validUntil);
    expect(end).toBeGreaterThanOrEqual(moved + 30_000);
    expect(end).toBeLessThan(Date.now() + 30_000);
    await delay(end - 1000 - Date.now());
    const seen: { sent: number; answered: number; told: string }[] = [];
    while (Date.now() < end + 1000) {
      const sent = Date.now();
      const told = await tell(old);
      seen.push({ sent, answered: Date.now(), told });
      await delay(50);
    }
    const told = (some: typeof seen) => [...new Set(some.map((each) => each.told))];
    expect(told(seen.filter(({ answered }) => answered < end))).toEqual(['200']);
    // The sidecar's clock and this one are corrected apart from each other.
    expect(told(seen.filter(({ sent }) => sent > end + 50))).toEqual(['expired_key']);
    await loops.round();
    expect(await whatFailed(loops, stack)).toEqual([]);
  });

  it.each<[string, (path: string, text: string) => Promise<void>]>([
    ['a plain write', (path, text) => writeFile(path, text)],
    [
      'a rename, as editors do it',
      async (path, text) => {
        await writeFile(`${path}.swp`, text);
        await rename(`${path}.swp`, path);
      },
    ],
  ])('an edit of .env by %s rotates within three seconds', async (_how, edit) => {
    const before = await containersOf(stack);
    const old = key;
    const next = generateKey();
    expect(await tell(next)).toBe('unknown_key');
    const edited = Date.now();
    await edit(join(stack.folder, '.env'), envWith(next));
    await vi.waitFor(async () => expect(await tell(next)).toBe('200'), { timeout: 10_000 });
    expect(Date.now() - edited).toBeLessThan(3000);
    expect(await tell(old)).toBe('200');
    await loops.round();
    key = next;
    await loops.round();
    expect(await tell(old)).toBe('200');
    expect(await containersOf(stack)).toBe(before);
    expect(await whatFailed(loops, stack)).toEqual([]);
  });

  it('sidecar rollback: the key before is active again, the new one is revoked', async () => {
    const { generation, previous, key: made } = await rotate();
    expect(await tell(made)).toBe('200');
    succeeded(await sidecar('rollback'));
    expect(await tell(made)).toBe('revoked_key');
    await loops.round();
    const back = await json<WhoView>('who', previous[0]?.id ?? '');
    expect(back.generation).toMatchObject({ state: 'active', validUntil: null });
    const gone = await json<WhoView>('who', generation.id);
    expect(gone.generation).toMatchObject({ state: 'revoked' });
    expect(await whatFailed(loops, stack)).toEqual([]);
    keys.revoked = made;
  });

  it('sidecar rotate --compromised cuts the streams of the old key, and no others', async () => {
    await loops.stop();
    expect(await whatFailed(loops, stack)).toEqual([]);
    const { key: other } = await json<{ key: string }>('clients', 'add', 'other');
    recordKey(other);
    const ours = readSlowly(url, key);
    const theirs = readSlowly(url, other);
    await delay(1000);
    const rotated = await rotate('--compromised');
    const { text, ended, at } = await ours;
    expect(ended).toBe('cut');
    expect(text).not.toContain('[DONE]');
    expect(rotated.cut).toBe(1);
    // 100 ms is held in test/e2e; here are a proxy of Docker's and a busy machine.
    expect(at - Date.parse(rotated.generation.createdAt)).toBeLessThan(1000);
    expect(await tell(key)).toBe('revoked_key');
    const left = await theirs;
    expect([left.ended, left.text.trimEnd().endsWith('data: [DONE]')]).toEqual(['whole', true]);
    expect(left.at).toBeGreaterThan(at + 1000);
    key = rotated.key;
    loops = startLoops(`${url}/v1`, () => key);
    await loops.round();
  });

  it('killed and started again: keys and deadlines as before', async () => {
    const old = key;
    key = (await rotate('--grace', '1h')).key;
    await settled('master-6');
    await loops.stop();
    expect(await whatFailed(loops, stack)).toEqual([]);
    const held = async (): Promise<unknown> => {
      const { clients } = await json<StatusView>('status');
      return clients.map(({ name, state, generations }) => [
        name,
        state,
        generations.map(({ id, state: its, validUntil, createdAt }) =>
          [id, its, validUntil, createdAt].join(' '),
        ),
      ]);
    };
    const before = await held();
    succeeded(await stack.compose(['kill', '-s', 'SIGKILL', 'sidecar']));
    succeeded(await stack.compose(['up', '-d', '--wait', '--wait-timeout', '120']));
    url = await stack.url(4000);
    expect(await held()).toEqual(before);
    expect(await Promise.all([key, old, keys.revoked, keys.expired].map(tell))).toEqual([
      '200',
      '200',
      'revoked_key',
      'expired_key',
    ]);
  });

  it('a schedule rotates and publishes, and who reads the file anew notices nothing', async () => {
    const path = join(stack.folder, '.env');
    const schedule = `SIDECAR_ROTATE_EVERY=6s
SIDECAR_GRACE=4s
SIDECAR_PUBLISH=file:/published/master
`;
    await writeFile(path, (await readFile(path, 'utf8')) + schedule);
    succeeded(await stack.compose(['restart', 'sidecar']));
    succeeded(await stack.compose(['up', '-d', '--wait', '--wait-timeout', '120']));
    url = await stack.url(4000);
    const published = async (): Promise<string> =>
      (await readFile(join(stack.folder, 'published', 'master'), 'utf8')).trim();
    key = await vi.waitFor(published, { timeout: 20_000, interval: 200 });
    loops = startLoops(`${url}/v1`, () => key);
    const seen = new Set<string>();
    while (seen.size < 3) {
      key = await published();
      recordKey(key);
      seen.add(key);
      await delay(200);
    }
    await loops.round();
    await loops.stop();
    expect(await whatFailed(loops, stack)).toEqual([]);
    const { rotateEveryMs, clients } = await json<StatusView>('status');
    expect(rotateEveryMs).toBe(6000);
    const master = clients.find(({ name }) => name === 'master');
    expect(master?.publish).toContainEqual(
      expect.objectContaining({ target: 'file:/published/master', state: 'published' }),
    );
  });

  it('says it all on one screen, and its audit is whole', async () => {
    const screen = succeeded(await sidecar('status'));
    expect(screen).toMatch(/^sidecar \d+\.\d+\.\d+, up for /);
    expect(screen).toMatch(/^client +key +state +made +last used +good until$/m);
    expect(screen).toMatch(/^master +master-\d+ +active /m);
    expect(screen).toMatch(/^ +master-\d+ +retir/m);
    expect(screen).toMatch(/^other +other-1 +active /m);
    const verdict = await sidecar('audit', 'verify');
    expect(verdict).toMatchObject({ code: 0, stderr: '' });
    const audit = await json<{ lines: { action: string }[] }>('audit', '--limit', '1000');
    expect(audit.lines.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['rotated', 'clock-started', 'retired', 'rolled-back', 'revoked']),
    );
  });
});
