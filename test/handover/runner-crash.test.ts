import { beforeAll, describe, expect, it } from 'vitest';
import { createStage, type Life, type Stage, soon } from './stage.ts';

/** Runs a story on a stage of its own. */
async function onStage<T>(story: (stage: Stage) => Promise<T>): Promise<T> {
  const stage = createStage();
  try {
    return await story(stage);
  } finally {
    await stage.close();
  }
}

const verified = async (life: Life): Promise<Life> => {
  await life.verified();
  return life;
};

/** Kills the process at write number `at` since `arm`: none of its writes reaches the disk then. */
function deadly(at: number) {
  let count = -1;
  const names: string[] = [];
  let onDeath = (): void => undefined;
  const died = new Promise<void>((resolve) => {
    onDeath = resolve;
  });
  return {
    names,
    /** Resolves at the first write that does not reach the disk. */
    died,
    arm: () => {
      count = 0;
    },
    onStep(name: string): void {
      if (count < 0) return;
      names.push(name);
      if (count >= at) {
        count = at + 1;
        onDeath();
        throw Object.assign(new Error('killed'), { code: 'EIO', syscall: 'write' });
      }
      count += 1;
    },
  };
}

type Kind = 'rotate' | 'reload' | 'broken';
const KINDS: readonly Kind[] = ['rotate', 'reload', 'broken'];

const ask = async (stage: Stage, life: Life, kind: Kind): Promise<unknown> => {
  if (kind !== 'rotate') stage.configure(kind === 'broken' ? 'broken' : 'another');
  const asked =
    kind === 'rotate' ? life.admin.rotate('cli') : life.admin.reload({ dryRun: false }, 'cli');
  return await asked.catch(() => undefined);
};

/** Waits until one LiteLLM alone runs, with the key that is stored; the handover has ended. */
const expectRest = async (stage: Stage, life: Life, kind: Kind): Promise<void> => {
  await soon(() => {
    const { active, handover } = life.runner.state();
    expect(handover).toBeUndefined();
    expect(stage.list('slots')).toEqual([active]);
    expect(stage.list('state/upstream')).toEqual([`${active}.key`]);
    expect(life.traffic.at).toBe(active);
    expect(stage.launcher.keyOf(active)).toBe(life.traffic.key?.reveal());
    expect(stage.launcher.keyOf(active)).toBe(stage.read(`state/upstream/${active}.key`));
  });
  const [last] = life.admin.history();
  if (last === undefined) return;
  expect(last.state, last.fault?.message).toBe(kind === 'broken' ? 'rolled_back' : 'done');
  expect(life.runner.state().active).toBe(kind === 'broken' ? 'a' : 'b');
};

describe.each(KINDS)('a process that is killed at any write of a handover (%s)', (kind) => {
  let points: readonly string[] = [];
  beforeAll(async () => {
    points = await onStage(async (stage) => {
      const trap = deadly(Infinity);
      const life = await verified(await stage.open({ onStep: trap.onStep }));
      trap.arm();
      await ask(stage, life, kind);
      await life.ended('handover-1');
      await expectRest(stage, life, kind);
      return trap.names;
    });
  }, 30_000);

  it('is gone on with by the next one', { timeout: 120_000 }, async () => {
    expect(points).toContain('rename upstream.json');
    expect(points.length).toBeGreaterThan(20);
    const kill = (at: number): Promise<void> =>
      onStage(async (stage) => {
        const trap = deadly(at);
        const life = await verified(await stage.open({ onStep: trap.onStep }));
        trap.arm();
        await ask(stage, life, kind);
        await trap.died;
        await life.close();
        const next = await verified(await stage.open());
        await expectRest(stage, next, kind);
      });
    for (let first = 0; first < points.length; first += AT_ONCE) {
      const batch = points.slice(first, first + AT_ONCE);
      await Promise.all(batch.map((_, at) => kill(first + at)));
    }
  });
});

const AT_ONCE = 12;

describe('a disk that fails for a while', () => {
  it('changes nothing that is not stored, and is gone on with when it works', async () => {
    await onStage(async (stage) => {
      const broken = { names: new Set<string>() };
      const onStep = (name: string): void => {
        if (!broken.names.has(name)) return;
        throw Object.assign(new Error('ENOSPC: no space left'), {
          code: 'ENOSPC',
          syscall: 'write',
        });
      };
      const life = await verified(await stage.open({ onStep }));
      // The handover does not even begin.
      broken.names.add('write upstream.json');
      await expect(life.admin.rotate('cli')).rejects.toMatchObject({ code: 'state_unavailable' });
      expect(life.admin.status()).toMatchObject({ handover: null, warnings: [{ code: 'disk' }] });
      expect(life.notes.at(-1)).toContain('cannot be saved');
      broken.names.clear();
      await soon(() => expect(stage.list('state/upstream')).toEqual(['a.key']));
      // In the middle of a handover traffic is not switched before the switch is stored.
      life.traffic.switchTo = () => expect(broken.names.size).toBe(0);
      await life.admin.rotate('cli');
      broken.names.add('rename upstream.json');
      await soon(() => expect(life.notes.at(-1)).toContain('cannot be saved'));
      expect(life.traffic.at).toBe('a');
      broken.names.clear();
      await life.ended('handover-1');
      expect(life.notes.at(-1)).toBe('store works');
    });
  });

  it('rolls back where the slot itself cannot be written', async () => {
    await onStage(async (stage) => {
      const onStep = (name: string): void => {
        if (name !== 'rename b') return;
        throw Object.assign(new Error('ENOSPC: no space left'), {
          code: 'ENOSPC',
          syscall: 'write',
        });
      };
      const life = await verified(await stage.open({ onStep }));
      stage.configure('another');
      await life.admin.reload({ dryRun: false }, 'cli');
      const view = await life.ended('handover-1');
      expect(view.fault).toMatchObject({ code: 'disk' });
      expect(view.fault?.hint).toContain('free some space');
      // The configuration is not to blame, so it is not refused.
      life.runner.onConfigChanged(await stage.digest());
      expect(life.admin.status().config).toBe('changed');
    });
  });

  it('keeps what cannot be cleared in mind until it is gone', async () => {
    await onStage(async (stage) => {
      let isBroken = false;
      const onStep = (name: string): void => {
        if (name !== 'rename a.gone' || !isBroken) return;
        throw Object.assign(new Error('EROFS: read-only'), { code: 'EROFS', syscall: 'rename' });
      };
      const life = await verified(await stage.open({ onStep }));
      isBroken = true;
      await life.admin.rotate('cli');
      await soon(() => expect(life.notes.at(-1)).toContain('trouble'));
      expect(life.admin.status()).toMatchObject({
        handover: { state: 'draining' },
        warnings: [{ code: 'disk' }],
      });
      isBroken = false;
      await life.ended('handover-1');
      expect(life.notes.at(-1)).toBe('trouble is over');
      expect(life.admin.status().warnings).toEqual([]);
    });
  });
});
