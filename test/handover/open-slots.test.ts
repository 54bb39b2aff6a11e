import { mkdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { createStage, type Life, type Stage, soon } from './stage.ts';

let stage: Stage;
beforeEach(() => {
  stage = createStage();
});
afterEach(async () => {
  await stage.close();
});

const open = async (options?: Parameters<Stage['open']>[0]): Promise<Life> => {
  const life = await stage.open(options);
  await life.verified();
  return life;
};
const contentIdOf = (slot: 'a' | 'b'): string => stage.read(`slots/${slot}/id`);

describe('a first start', () => {
  it('makes a key and a slot, and knows when LiteLLM came up', async () => {
    const life = await stage.open();
    expect(life.active).toBe('a');
    expect(life.admin.status()).toMatchObject({
      ...{ mode: 'slots', verified: false, config: 'current', database: null },
      slots: [
        { name: 'a', state: 'active' },
        { name: 'b', state: 'empty' },
      ],
    });
    expect(stage.read('state/upstream/a.key')).toBe(life.key.reveal());
    expect(stage.read('slots/a/master.key')).toBe(life.key.reveal());
    await soon(() => expect(life.notes).toEqual(['verified a']));
    expect(statSync(join(stage.root, 'state/upstream.json')).mode & 0o777).toBe(0o600);
  });

  it('keeps the key of an installation from before, and its date', async () => {
    mkdirSync(join(stage.root, 'state/upstream'));
    const path = join(stage.root, 'state/upstream/a.key');
    const key = generateKey();
    writeFileSync(path, `${key}\n`);
    utimesSync(path, 1_700_000_000, 1_700_000_000);
    const life = await stage.open();
    expect(life.key.reveal()).toBe(key);
    expect(life.admin.status().keyMadeAt).toBe(new Date(1_700_000_000_000).toISOString());
  });

  it('goes by the slots where the state was deleted', async () => {
    const life = await open();
    await life.admin.rotate('cli');
    await life.ended('handover-1');
    await life.close();
    rmSync(join(stage.root, 'state/upstream.json'));
    const next = await open();
    expect(next.active).toBe('b');
    expect(next.key.reveal()).toBe(life.traffic.key?.reveal());
    expect(stage.launcher.started).toEqual(['a', 'b']);
  });

  it('does not replace a key file that was emptied', async () => {
    mkdirSync(join(stage.root, 'state/upstream'));
    writeFileSync(join(stage.root, 'state/upstream/a.key'), '');
    await expect(stage.open()).rejects.toMatchObject({ name: 'StartupError', kind: 'state' });
  });

  it('says what is wrong with the configuration', async () => {
    rmSync(join(stage.root, 'config/config.yaml'));
    await expect(stage.open()).rejects.toMatchObject({
      message: expect.stringContaining('is a folder without a config.yaml'),
    });
  });
});

describe('a later start', () => {
  it('leaves a LiteLLM that was verified as it runs, whatever its configuration', async () => {
    await (await open()).close();
    const id = contentIdOf('a');
    stage.configure('another');
    const life = await open();
    expect(contentIdOf('a')).toBe(id);
    const { config, next } = life.admin.status();
    expect(config).toBe('changed');
    expect(next.join()).toContain('--dry-run');
  });

  it('switches to a configuration that changed meanwhile, where that goes by itself', async () => {
    await (await open()).close();
    stage.configure('another');
    const life = await open({ config: { autoReload: true } });
    expect(await life.ended('handover-1')).toMatchObject({ by: 'config', state: 'done' });
    expect(life.admin.status().config).toBe('current');
  });

  it('places another configuration where no LiteLLM ever came up', async () => {
    stage.configure('broken');
    const first = await stage.open();
    await first.close();
    stage.configure('mock');
    await open();
    expect(stage.launcher.configOf('a')).toBe('mock\n');
  });

  it.each([
    ['is missing', () => rmSync(join(stage.root, 'slots/a'), { recursive: true })],
    ['is damaged', () => rmSync(join(stage.root, 'slots/a/master.key'))],
    ['holds another key', () => writeFileSync(join(stage.root, 'slots/a/master.key'), 'sk-x')],
  ])('puts the slot in place where it %s', async (_, damage) => {
    const before = await open();
    await before.close();
    damage();
    const life = await open();
    expect(life.key.reveal()).toBe(before.key.reveal());
    expect(stage.read('slots/a/master.key')).toBe(life.key.reveal());
  });

  it('clears a slot that no handover needs', async () => {
    await (await open()).close();
    mkdirSync(join(stage.root, 'slots/b'));
    writeFileSync(join(stage.root, 'state/upstream/b.key'), generateKey());
    writeFileSync(join(stage.root, 'state/upstream', LEFTOVER), generateKey());
    await open();
    await soon(() => {
      expect(stage.list('slots')).toEqual(['a']);
      expect(stage.list('state/upstream')).toEqual(['a.key']);
    });
  });
});

const LEFTOVER = '.b.key.01234567-89ab-4cde-8f01-23456789abcd';

describe('one place only', () => {
  it('has no handovers, and takes another configuration at a start', async () => {
    const [a] = stage.launcher.urls;
    const config = { upstreams: [a] as const };
    const life = await open({ config });
    expect(life.admin.status().mode).toBe('one-slot');
    await expect(life.admin.rotate('cli')).rejects.toMatchObject({ code: 'no_slots' });
    await expect(life.admin.reload({ dryRun: false }, 'cli')).rejects.toMatchObject({
      code: 'no_slots',
    });
    await life.close();
    stage.configure('another');
    const next = await open({ config });
    expect(stage.launcher.configOf('a')).toBe('another\n');
    expect(next.key.reveal()).toBe(life.key.reveal());
  });

  it('goes to slot a where slot b served before, and lets that one go', async () => {
    const life = await open();
    await life.admin.rotate('cli');
    await life.ended('handover-1');
    await life.close();
    const [a] = stage.launcher.urls;
    const next = await open({ config: { upstreams: [a] } });
    expect(next.active).toBe('a');
    await soon(() => expect(stage.list('slots')).toEqual(['a']));
  });
});

describe('an end', () => {
  it('begins nothing more, and leaves what is under way to the next process', async () => {
    const life = await open();
    life.traffic.loads.a = { requests: 1, websockets: 0, mcpSessions: 0 };
    await life.admin.rotate('cli');
    await life.step('handover-1', 'draining');
    await life.close();
    await expect(life.admin.rotate('cli')).rejects.toMatchObject({ code: 'stopping_upstream' });
    const next = await open();
    expect(next.active).toBe('b');
    expect(await next.ended('handover-1')).toMatchObject({ state: 'done' });
  });

  it('knows nothing of a handover that was never asked for', async () => {
    const life = await open();
    expect(() => life.admin.handover('handover-9')).toThrow('no handover is called handover-9');
    expect(life.admin.history()).toEqual([]);
    await life.close();
    await expect(
      (await open({ config: { litellmConfig: undefined } })).admin.reload({ dryRun: true }, 'cli'),
    ).rejects.toMatchObject({ code: 'nothing_to_reload' });
  });
});
