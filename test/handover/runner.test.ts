import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HandoverError } from '../../src/handover/contracts.ts';
import { createStage, type Life, type Stage, soon } from './stage.ts';

let stage: Stage;
beforeEach(() => {
  stage = createStage();
});
afterEach(async () => {
  await stage.close();
});

const verified = async (life: Life): Promise<Life> => {
  await life.verified();
  return life;
};
const open = async (options?: Parameters<Stage['open']>[0]): Promise<Life> =>
  verified(await stage.open(options));
/** The error that a verb rejects with. */
const errorOf = (verb: Promise<unknown>): Promise<HandoverError> =>
  verb.then(
    () => {
      throw new Error('it was not refused');
    },
    (error: HandoverError) => error,
  );
/** Waits until one LiteLLM alone runs, in `slot`, with the key that its file and the traffic have. */
const expectRest = async (life: Life, slot: 'a' | 'b'): Promise<void> => {
  await soon(() => {
    expect(stage.list('slots')).toEqual([slot]);
    expect(stage.list('state/upstream')).toEqual([`${slot}.key`]);
    expect(life.traffic.at).toBe(slot);
    expect(stage.launcher.keyOf(slot)).toBe(life.traffic.key?.reveal());
  });
  expect(stage.read(`state/upstream/${slot}.key`)).toBe(life.traffic.key?.reveal());
};

describe('a rotation', () => {
  it('moves requests to a LiteLLM with a new key, and takes the old one away', async () => {
    const life = await open();
    const before = life.traffic.key?.reveal();
    const begun = await life.admin.rotate('cli:alice');
    expect(begun).toMatchObject({ id: 'handover-1', state: 'staged', by: 'cli:alice', to: 'b' });
    const view = await life.ended('handover-1');
    expect(view).toMatchObject({ state: 'done', fault: null, cut: 0 });
    expect(view.models).toEqual({ listed: 1, added: [], vanished: [] });
    const steps = ['staged', 'starting', 'verified', 'switched', 'draining', 'done'];
    expect(life.told).toEqual(steps.map((step) => `rotate ${step}`));
    await expectRest(life, 'b');
    expect(life.traffic.key?.reveal()).not.toBe(before);
    expect(life.admin.status()).toMatchObject({
      handover: null,
      last: { id: 'handover-1' },
      slots: [{ state: 'empty' }, { name: 'b', state: 'active', up: true }],
    });
    await life.admin.rotate('cli:alice');
    await life.ended('handover-2');
    await expectRest(life, 'a');
  });

  it('runs with the configuration that runs, and not with one that is half edited', async () => {
    const life = await open();
    stage.configure('broken');
    await life.admin.rotate('cli');
    expect(await life.ended('handover-1')).toMatchObject({ state: 'done' });
    expect(stage.launcher.configOf('b')).toBe('mock\n');
  });

  it('waits for what the old one has in hand, and cuts what outlasts the drain', async () => {
    const life = await open({ config: { drainMs: 15_000 } });
    life.traffic.loads.a = { requests: 2, websockets: 1, mcpSessions: 0 };
    await life.admin.rotate('cli');
    const draining = await life.step('handover-1', 'draining');
    expect(draining.waitsFor).toBe('2 requests and 1 WebSocket in slot a to end');
    expect(stage.list('slots')).toEqual(['a', 'b']);
    expect(await life.ended('handover-1')).toMatchObject({ state: 'done', cut: 2 });
    expect(life.traffic.ends).toEqual(['a']);
  });

  it('goes back where the new one dies in its probation', async () => {
    const life = await open({ config: { probationMs: 60_000 } });
    const key = life.traffic.key?.reveal();
    await life.admin.rotate('cli');
    await life.step('handover-1', 'draining');
    expect(life.traffic.at).toBe('b');
    stage.launcher.kill('b');
    const view = await life.ended('handover-1');
    expect(view).toMatchObject({ state: 'rolled_back', fault: { code: 'died_after_switch' } });
    expect(view.fault?.lastWords).toHaveLength(1);
    await expectRest(life, 'a');
    expect(life.traffic.key?.reveal()).toBe(key);
    expect(stage.launcher.started).toEqual(['a', 'b']);
  });
});

describe('a reload', () => {
  it('keeps the key, and says which models came and went', async () => {
    const life = await open();
    const key = life.traffic.key?.reveal();
    stage.configure('another');
    await life.admin.reload({ dryRun: false }, 'cli');
    const view = await life.ended('handover-1');
    expect(view.models).toEqual({ listed: 1, added: ['another'], vanished: ['mock'] });
    await expectRest(life, 'b');
    expect(life.traffic.key?.reveal()).toBe(key);
  });

  it.each([
    ['broken', 'died'],
    ['own-key', 'refuses_key'],
    ['empty', 'no_models'],
  ])('leaves LiteLLM as it was where the configuration is %s', async (text, code) => {
    const life = await open();
    stage.configure(text);
    await life.admin.reload({ dryRun: false }, 'cli');
    const view = await life.ended('handover-1');
    expect(view).toMatchObject({ state: 'rolled_back', switchedAt: null, fault: { code } });
    await expectRest(life, 'a');
    expect(stage.launcher.started).toEqual(['a', 'b']);
    life.runner.onConfigChanged(await stage.digest());
    expect(life.admin.status()).toMatchObject({
      config: 'refused',
      warnings: [{ code: 'config_refused' }],
    });
  });

  it('that is tried only switches nothing', async () => {
    const life = await open();
    stage.configure('another');
    await life.admin.reload({ dryRun: true }, 'cli');
    const view = await life.ended('handover-1');
    expect(view).toMatchObject({ state: 'done', kind: 'dry-run', switchedAt: null });
    expect(view.models).toMatchObject({ added: ['another'] });
    await expectRest(life, 'a');
    expect(stage.launcher.configOf('a')).toBe('mock\n');
  });

  it('of what cannot be copied says so', async () => {
    const life = await open();
    rmSync(`${stage.root}/config/config.yaml`);
    await life.admin.reload({ dryRun: false }, 'cli');
    expect((await life.ended('handover-1')).fault).toMatchObject({
      code: 'config_unusable',
      message: `${stage.root}/config is a folder without a config.yaml`,
    });
  });
});

describe('an edit of the configuration', () => {
  it('is switched to by itself, once; and a broken one is not tried again', async () => {
    const life = await open({ config: { autoReload: true } });
    stage.configure('another');
    const another = await stage.digest();
    life.runner.onConfigChanged(another);
    await life.ended('handover-1');
    expect(life.admin.handover('handover-1')).toMatchObject({ by: 'config', state: 'done' });
    stage.configure('broken');
    const broken = await stage.digest();
    life.runner.onConfigChanged(broken);
    expect(await life.ended('handover-2')).toMatchObject({ state: 'rolled_back' });
    life.runner.onConfigChanged(broken);
    // A configuration that was refused begins nothing: the rotation is the next handover.
    await life.admin.rotate('cli');
    expect((await life.ended('handover-3')).kind).toBe('rotate');
    // A reload that somebody asks for tries the refused configuration all the same.
    await life.admin.reload({ dryRun: false }, 'cli');
    expect(await life.ended('handover-4')).toMatchObject({ fault: { code: 'died' } });
  });

  it('that mends a broken one is tried as soon as that one has failed', async () => {
    const life = await open({ config: { autoReload: true } });
    stage.configure('broken');
    life.runner.onConfigChanged(await stage.digest());
    // By then the broken one was copied.
    await soon(() => expect(stage.launcher.started).toEqual(['a', 'b']));
    stage.configure('mended');
    life.runner.onConfigChanged(await stage.digest());
    const broken = await life.ended('handover-1');
    const mended = await life.ended('handover-2');
    expect([broken.state, mended.state]).toEqual(['rolled_back', 'done']);
    const waited = Date.parse(mended.startedAt) - Date.parse(broken.endedAt ?? '');
    expect(waited).toBeLessThan(10_000);
  });

  it('that waits after a failure says until when', async () => {
    const life = await open({ config: { autoReload: true } });
    rmSync(`${stage.root}/config/config.yaml`);
    life.runner.onConfigChanged('of a file that is gone by now');
    expect((await life.ended('handover-1')).fault).toMatchObject({ code: 'config_unusable' });
    const { configWaitsUntil, now } = life.admin.status();
    expect(Date.parse(configWaitsUntil ?? '')).toBeGreaterThan(Date.parse(now));
  });

  it('that is seen late is not switched to over and over', async () => {
    const life = await open({ config: { autoReload: true } });
    stage.configure('another');
    // The copy is made of a later edit, so that this digest is never the one that runs.
    life.runner.onConfigChanged('a digest of an earlier edit');
    await life.ended('handover-1');
    life.runner.onConfigChanged('a digest of an earlier edit');
    await life.admin.rotate('cli');
    expect((await life.ended('handover-2')).kind).toBe('rotate');
    life.runner.onConfigChanged('a digest of another edit');
    expect(await life.ended('handover-3')).toMatchObject({ by: 'config', kind: 'reload' });
  });

  it('puts another configuration in place where no LiteLLM ever came up', async () => {
    stage.configure('broken');
    const life = await stage.open({ config: { autoReload: true } });
    await soon(() => expect(life.admin.status().warnings).toMatchObject([{ code: 'died' }]));
    expect(life.admin.status().warnings[0]?.message).toContain('its last words: start');
    stage.configure('mock');
    life.runner.onConfigChanged(await stage.digest());
    await verified(life);
    expect(life.admin.history()).toMatchObject([
      { kind: 'reload', state: 'done', from: 'a', to: 'a' },
    ]);
    expect(stage.launcher.started).toEqual(['a', 'a']);
    expect(life.admin.status().warnings).toEqual([]);
    await expectRest(life, 'a');
  });
});

describe('one at a time', () => {
  it('refuses a second one until the first has switched, and then lets one wait', async () => {
    const life = await open({ config: { probationMs: 60_000 } });
    life.traffic.loads.a = { requests: 1, websockets: 0, mcpSessions: 0 };
    await life.admin.rotate('cli:alice');
    const second = await errorOf(life.admin.rotate('cli:bob'));
    expect(second).toMatchObject({ code: 'handover_under_way', handover: { id: 'handover-1' } });
    await life.step('handover-1', 'draining');
    const waiting = await life.admin.reload({ dryRun: false }, 'cli:bob');
    expect(waiting).toMatchObject({ id: 'handover-2', state: 'waiting', from: 'b', to: 'a' });
    expect(life.admin.status().waiting?.waitsFor).toBe('handover-1 to end');
    const third = await errorOf(life.admin.rotate('cli:carol'));
    expect(third).toMatchObject({ code: 'handover_under_way', handover: { id: 'handover-2' } });
    // The probation ends early for it, and the drain does not.
    expect(life.admin.handover('handover-1').state).toBe('draining');
    life.traffic.loads.a = { requests: 0, websockets: 0, mcpSessions: 0 };
    expect(await life.ended('handover-1')).toMatchObject({ state: 'done' });
    await life.step('handover-2', 'draining');
    expect(life.admin.history().map(({ id }) => id)).toEqual(['handover-1']);
  });
});

describe('the schedule', () => {
  it('goes by the date of the key, and tries again later where it may not', async () => {
    const everyMs = 40_000;
    const life = await open({ config: { upstreamRotateEveryMs: everyMs }, database: true });
    await soon(() => expect(life.notes).toContain('schedule salt_key_unknown'));
    expect(life.admin.history()).toEqual([]);
    const { warnings, nextRotationAt, keyMadeAt } = life.admin.status();
    expect(warnings).toMatchObject([{ code: 'salt_key_unknown' }]);
    expect(Date.parse(nextRotationAt ?? '')).toBeGreaterThan(Date.parse(keyMadeAt ?? '') + everyMs);
    await life.close();
    const next = await open({ config: { upstreamRotateEveryMs: everyMs, saltKeySet: true } });
    expect(await next.ended('handover-1')).toMatchObject({ by: 'schedule', state: 'done' });
    const after = next.admin.status();
    const madeAt = Date.parse(after.keyMadeAt ?? '');
    expect(madeAt).toBeGreaterThan(Date.parse(keyMadeAt ?? ''));
    expect(Date.parse(after.nextRotationAt ?? '')).toBe(madeAt + everyMs);
  });
});

describe('a key that may not change', () => {
  it('is not rotated where stored credentials may depend on it; a reload is allowed', async () => {
    const life = await open({ database: true });
    const error = await errorOf(life.admin.rotate('cli'));
    expect(error.code).toBe('salt_key_unknown');
    expect(error.hints.join()).toContain(`${stage.root}/state/upstream/a.key`);
    await life.admin.reload({ dryRun: false }, 'cli');
    expect(await life.ended('handover-1')).toMatchObject({ state: 'done' });
    expect(await errorOf(life.admin.saltKey('cli'))).toMatchObject({ code: 'salt_key_not_new' });
  });

  it('is not rotated either while nobody knows', async () => {
    const life = await open({ database: 'unknown' });
    expect((await errorOf(life.admin.rotate('cli'))).code).toBe('salt_key_unknown');
    expect((await errorOf(life.admin.saltKey('cli'))).code).toBe('salt_key_not_new');
  });

  it('is rotated on the word of the operator, who gets no other salt key then', async () => {
    const life = await open({ database: true, config: { saltKeySet: true } });
    await life.admin.rotate('cli');
    expect(await life.ended('handover-1')).toMatchObject({ state: 'done' });
    expect((await errorOf(life.admin.saltKey('cli'))).code).toBe('salt_key_not_new');
  });

  it('has a salt key where nothing can be encrypted yet', async () => {
    const life = await open();
    const { saltKey } = await life.admin.saltKey('cli');
    expect(saltKey).toMatch(/^sk-[A-Za-z0-9]{48}$/);
  });
});
