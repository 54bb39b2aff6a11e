import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { HandoverView, UpstreamView } from '../../src/handover/views.ts';
import { generateKey } from '../../src/keyring/key.ts';
import { recordKey } from '../support/key-ledger.ts';
import { type Loops, startLoops } from './openai-loops.ts';
import { readSlowly } from './slow-stream.ts';
import { containersOf, createStack, type Stack, succeeded, UP } from './stack.ts';
import { whatFailed } from './what-failed.ts';

const MODEL = `
  - model_name: added-under-way
    litellm_params:
      model: openai/gpt-4o
      api_key: none
      mock_response: "Hello from LiteLLM, which was reloaded."

litellm_settings:`;

/** What any process of LiteLLM's container could read of keys. */
const SEEN = `
env
cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'
`;

/** Tests in their order, on one stack. */
describe('LiteLLM hands over under clients that do not stop', () => {
  const key = generateKey();
  const upstreamKeys = new Set<string>();
  let stack: Stack;
  let url: string;
  let loops: Loops;

  const sidecar = (...args: readonly string[]) =>
    stack.compose(['exec', '-T', 'sidecar', 'sidecar', ...args]);
  const json = async <T>(...args: readonly string[]): Promise<T> =>
    JSON.parse(succeeded(await sidecar(...args, '--json'))) as T;
  const status = (): Promise<UpstreamView> => json<UpstreamView>('upstream', 'status');
  const configPath = (): string => join(stack.folder, 'config.yaml');
  /** As an editor does it. */
  const edit = async (change: (text: string) => string): Promise<void> => {
    const text = change(await readFile(configPath(), 'utf8'));
    await writeFile(`${configPath()}.swp`, text);
    await rename(`${configPath()}.swp`, configPath());
  };
  /** The keys that stand in LiteLLM's slots now. */
  const noteKeys = async (): Promise<readonly string[]> => {
    const cat = ['exec', '-T', 'litellm', 'sh', '-c', 'cat /slots/*/master.key'];
    const found = succeeded(await stack.compose(cat))
      .trim()
      .split('\n');
    for (const each of found) {
      recordKey(each);
      upstreamKeys.add(each);
    }
    return found;
  };
  const ended = (id: string): Promise<HandoverView> =>
    vi.waitFor(
      async () => {
        const { handovers } = await json<{ handovers: HandoverView[] }>('upstream', 'history');
        const found = handovers.find((each) => each.id === id);
        if (found === undefined || found.endedAt === null) throw new Error(`${id} has not ended`);
        return found;
      },
      { timeout: 200_000, interval: 1000 },
    );
  /** The latest handover that the edit of a file began. */
  const begun = (after: string | undefined): Promise<HandoverView> =>
    vi.waitFor(
      async () => {
        const { handover, last } = await status();
        const found = handover ?? last;
        if (found === null || found.id === after) throw new Error('no handover began');
        return found;
      },
      { timeout: 30_000, interval: 250 },
    );

  beforeAll(async () => {
    const env = `LITELLM_MASTER_KEY=${key}
NVIDIA_NIM_API_KEY=nvapi-of-the-operator
NVIDIA_NIM_API_BASE=http://provider:8080/v1
SIDECAR_PROBATION=5s
`;
    stack = await createStack({ '.env': env });
    succeeded(await stack.compose(UP));
    url = await stack.url(4000);
    loops = startLoops(`${url}/v1`, () => key);
    await loops.round();
  });

  afterAll(async () => {
    await loops?.stop();
    await stack?.clear();
  });

  it('to a new key: three streams of a minute end whole, and nobody notices', async () => {
    const before = await containersOf(stack);
    const [old = ''] = await noteKeys();
    const streams = [1, 2, 3].map(() => readSlowly(url, key, 'a minute'));
    await loops.round();
    const view = await json<HandoverView>('upstream', 'rotate');
    expect(view).toMatchObject({ kind: 'rotate', from: 'a', to: 'b', fault: null });
    expect(view.switchedAt).not.toBeNull();
    await noteKeys();
    await loops.round();
    const reads = await Promise.all(streams);
    expect(reads.map((each) => each.ended)).toEqual(['whole', 'whole', 'whole']);
    for (const { text } of reads) {
      expect(text).toContain('"599 "');
      expect(text.trimEnd()).toMatch(/data: \[DONE\]$/);
    }
    expect(await ended(view.id)).toMatchObject({ state: 'done', cut: 0 });
    const left = await noteKeys();
    expect(left).toHaveLength(1);
    expect(left).not.toContain(old);
    expect(await containersOf(stack)).toBe(before);
    expect(await whatFailed(loops, stack)).toEqual([]);
  });

  it('to a config.yaml that adds a model: `sidecar check` sees it', async () => {
    const { last } = await status();
    await edit((text) => text.replace('\nlitellm_settings:', MODEL));
    const view = await ended((await begun(last?.id)).id);
    expect(view).toMatchObject({ kind: 'reload', by: 'config', state: 'done' });
    expect(view.models).toMatchObject({ added: ['added-under-way'], vanished: [] });
    const check = await sidecar('check', '--model', 'added-under-way');
    expect(check.stdout).toContain('added-under-way');
    expect(check.code).toBe(0);
    await loops.round();
    expect(await whatFailed(loops, stack)).toEqual([]);
  });

  it('never to a config.yaml that is broken: the reason is told, with LiteLLM’s words', async () => {
    const before = await readFile(configPath(), 'utf8');
    const { last } = await status();
    await edit((text) => `${text}\n  broken: [yaml\n`);
    const view = await ended((await begun(last?.id)).id);
    expect(view).toMatchObject({ kind: 'reload', state: 'rolled_back', switchedAt: null });
    expect(view.fault?.code).toBe('died');
    expect(view.fault?.lastWords.join('\n')).toMatch(/yaml/i);
    const screen = succeeded(await sidecar('upstream', 'status'));
    expect(screen).toMatch(/refused/);
    await loops.round();
    // It is not tried again and again.
    await delay(5000);
    expect((await status()).last?.id).toBe(view.id);
    await edit(() => before);
    await vi.waitFor(async () => expect((await status()).config).toBe('current'), {
      timeout: 60_000,
      interval: 500,
    });
    await loops.round();
    expect(await whatFailed(loops, stack)).toEqual([]);
  });

  it('a dry run starts it, lists its models, and switches nothing', async () => {
    const { slots } = await status();
    const active = slots.find(({ state }) => state === 'active')?.name;
    const view = await json<HandoverView>('upstream', 'reload', '--dry-run');
    expect(view).toMatchObject({ kind: 'dry-run', state: 'done', switchedAt: null });
    expect(view.models?.listed).toBeGreaterThan(1);
    const after = await status();
    expect(after.slots.find(({ state }) => state === 'active')?.name).toBe(active);
    expect(after.slots.filter(({ state }) => state === 'empty')).toHaveLength(1);
  });

  it('a sidecar that is killed in the middle goes on where it was', async () => {
    await loops.stop();
    expect(await whatFailed(loops, stack)).toEqual([]);
    const rotating = sidecar('upstream', 'rotate');
    await vi.waitFor(
      async () => expect((await status()).handover?.state).toMatch(/starting|verified|switched/),
      { timeout: 30_000, interval: 100 },
    );
    succeeded(await stack.compose(['kill', '-s', 'SIGKILL', 'sidecar']));
    await rotating;
    succeeded(await stack.compose(['up', '-d', '--wait', '--wait-timeout', '120']));
    url = await stack.url(4000);
    await vi.waitFor(
      async () => {
        const { handover, slots } = await status();
        expect(handover).toBeNull();
        expect(slots.filter(({ state }) => state === 'empty')).toHaveLength(1);
      },
      { timeout: 120_000, interval: 500 },
    );
    expect(await noteKeys()).toHaveLength(1);
    loops = startLoops(`${url}/v1`, () => key);
    await loops.round();
    await loops.stop();
    expect(await whatFailed(loops, stack)).toEqual([]);
  });

  it('shows no client key to LiteLLM, and no key of LiteLLM’s in a log', async () => {
    const seen = await stack.compose(['exec', '-T', 'litellm', 'sh', '-c', SEEN]);
    expect(seen.stdout).toMatch(/LITELLM_MASTER_KEY=sk-/); // its own
    expect(seen.stdout).not.toContain(key);
    expect(upstreamKeys.size).toBeGreaterThan(2);
    const logs = succeeded(await stack.compose(['logs', '--no-color', 'sidecar']));
    expect(logs).toContain('slot');
    expect([...upstreamKeys].filter((each) => logs.includes(each))).toEqual([]);
  });
});
