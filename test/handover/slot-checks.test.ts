import { describe, expect, it, vi } from 'vitest';
import { createSlotChecks } from '../../src/handover/observation.ts';
import type { SlotReport } from '../../src/litellm/report.ts';
import type { Verdict } from '../../src/litellm/verify.ts';
import { Secret } from '../../src/secret.ts';

const reportOf = (slotId: string): SlotReport => ({
  slotId,
  ...{ attempt: 1, lines: [], endedWith: undefined, port: 4000 },
});

/** The checks of slot b, whose content and report a test changes, with a clock of its own. */
function stage() {
  const now = { ms: 0 };
  const slot = { content: 'one', report: undefined as SlotReport | undefined };
  const verify = vi.fn((): Promise<Verdict> => Promise.resolve({ kind: 'good', models: ['m'] }));
  const checks = createSlotChecks({
    verify,
    readReport: () => Promise.resolve(slot.report),
    contentIdOf: () => slot.content,
    keyOf: () => new Secret('sk-of-the-slot'),
    masterKeyLine: () => Promise.resolve(undefined),
    now: () => now.ms,
  });
  /** A look each second; resolves to how many checks were begun by then. */
  const looks = async (count: number) => {
    for (let each = 0; each < count; each++) {
      await checks.refresh('b', 500, () => undefined);
      await new Promise(setImmediate);
      now.ms += 1000;
    }
    return verify.mock.calls.length;
  };
  return { slot, checks, looks };
}

describe('a content that was just placed', () => {
  it('is checked once the launcher reports that its LiteLLM was started', async () => {
    const { slot, checks, looks } = stage();
    slot.report = reportOf('the one before');
    // What answers there is the LiteLLM of the content before, about to stop.
    expect(await looks(10)).toBe(0);
    expect(checks.of('b').check).toBeUndefined();
    slot.report = reportOf('one');
    expect(await looks(1)).toBe(1);
    expect(checks.of('b').check?.verdict.kind).toBe('good');
  });

  it('that takes the place of another waits for a report of its own again', async () => {
    const { slot, checks, looks } = stage();
    slot.report = reportOf('one');
    expect(await looks(2)).toBe(2);
    slot.content = 'two';
    expect(await looks(5)).toBe(2);
    expect(checks.of('b').check).toBeUndefined();
    slot.report = reportOf('two');
    expect(await looks(1)).toBe(3);
  });

  it('is checked after a while where no report comes', async () => {
    const silent = stage();
    expect(await silent.looks(3)).toBe(0);
    expect(await silent.looks(1)).toBe(1);
    const stuck = stage();
    stuck.slot.report = reportOf('another, for ever');
    expect(await stuck.looks(20)).toBe(0);
    expect(await stuck.looks(1)).toBe(1);
  });

  it('is checked at once where the launcher may not read whose content it is', async () => {
    const { slot, looks } = stage();
    slot.report = reportOf('');
    expect(await looks(1)).toBe(1);
  });
});
