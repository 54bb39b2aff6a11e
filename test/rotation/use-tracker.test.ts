import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type GenerationUses, MOST_CALLERS } from '../../src/keyring/keyring.ts';
import { createUsageTracker } from '../../src/rotation/use.ts';

const track = (initial: GenerationUses = new Map()) => {
  const time = { now: 1000 };
  const tracker = createUsageTracker({ now: () => time.now, initial });
  const noteAt = (now: number, address: string, userAgent = 'curl', id = 'ci-1') => {
    time.now = now;
    tracker.note(id, address, userAgent);
  };
  const agents = (id = 'ci-1') => tracker.of(id)?.callers.map(({ userAgent }) => userAgent);
  return { ...tracker, noteAt, agents };
};

describe('who uses a key', () => {
  it('is told by address and user agent, the most recent first', () => {
    const { noteAt, of } = track();
    noteAt(1, '10.0.0.1');
    noteAt(2, '10.0.0.2');
    noteAt(3, '10.0.0.1', 'python');
    noteAt(4, '10.0.0.1');
    noteAt(5, '10.0.0.9', 'curl', 'ci-2');
    expect(of('ci-1')).toEqual({
      lastAt: 4,
      count: 4,
      callers: [
        { address: '10.0.0.1', userAgent: 'curl', firstAt: 1, lastAt: 4, count: 2 },
        { address: '10.0.0.1', userAgent: 'python', firstAt: 3, lastAt: 3, count: 1 },
        { address: '10.0.0.2', userAgent: 'curl', firstAt: 2, lastAt: 2, count: 1 },
      ],
    });
    expect(of('ci-2')?.count).toBe(1);
    expect(of('ci-3')).toBeUndefined();
  });

  it('is told by its last instant', () => {
    const { noteAt, lastAt } = track();
    for (const now of [10, 20, 30]) noteAt(now, `10.0.0.${now}`);
    expect([lastAt('ci-1'), lastAt('ci-2')]).toEqual([30, undefined]);
  });

  it('is at most 100 callers: the least recent goes, and no count of the key with it', () => {
    const { noteAt, of, agents } = track();
    for (let at = 0; at < MOST_CALLERS; at += 1) noteAt(at, '10.0.0.1', `agent-${at}`);
    noteAt(200, '10.0.0.1', 'agent-0');
    noteAt(201, '10.0.0.1', 'one too many');
    expect(agents()).toHaveLength(MOST_CALLERS);
    expect(agents()).toContain('agent-0');
    expect(agents()).not.toContain('agent-1');
    expect(of('ci-1')?.count).toBe(MOST_CALLERS + 2);
    // It comes back as somebody new.
    noteAt(202, '10.0.0.1', 'agent-1');
    expect(of('ci-1')?.callers[0]).toMatchObject({ userAgent: 'agent-1', firstAt: 202, count: 1 });
  });

  it('is what a naive list says, whoever comes in what order', () => {
    const who = fc.record({
      address: fc.integer({ min: 0, max: 30 }).map((n) => `10.0.0.${n}`),
      userAgent: fc.integer({ min: 0, max: 9 }).map((n) => `agent-${n}`),
    });
    fc.assert(
      fc.property(fc.array(who, { maxLength: 600 }), fc.boolean(), (calls, reload) => {
        let { noteAt, of, usage } = track();
        let naive: { address: string; userAgent: string; lastAt: number; count: number }[] = [];
        for (const [at, call] of calls.entries()) {
          if (reload && at % 100 === 99) ({ noteAt, of, usage } = track(usage()));
          noteAt(at, call.address, call.userAgent);
          const same = (it: typeof call) =>
            it.address === call.address && it.userAgent === call.userAgent;
          const count = (naive.find(same)?.count ?? 0) + 1;
          naive = [{ ...call, lastAt: at, count }, ...naive.filter((it) => !same(it))];
          naive = naive.slice(0, MOST_CALLERS);
        }
        expect(of('ci-1')?.count ?? 0).toBe(calls.length);
        expect(of('ci-1')?.callers ?? []).toMatchObject(naive);
        expect(of('ci-1')?.callers ?? []).toHaveLength(naive.length);
      }),
      { numRuns: 40 },
    );
  });

  it('is forgotten with its address: many of those fill no memory', () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const heap = (): number => {
      gc();
      return process.memoryUsage().heapUsed;
    };
    const { noteAt, of } = track();
    const before = heap();
    for (let at = 0; at < 100_000; at += 1) noteAt(at, `2001:db8::${at.toString(16)}`);
    // An empty map to each address would be 20 MB.
    expect(heap() - before).toBeLessThan(5e6);
    expect(of('ci-1')?.count).toBe(100_000);
  });

  it('keeps no key that a client gave for its name, and still knows it by that', () => {
    const { noteAt, of } = track();
    noteAt(1, '10.0.0.1', 'tool sk-abcdefghijklmnop (x)');
    noteAt(2, '10.0.0.1', 'tool sk-abcdefghijklmnop (x)');
    expect(of('ci-1')?.callers).toEqual([
      { address: '10.0.0.1', userAgent: 'tool [redacted] (x)', firstAt: 1, lastAt: 2, count: 2 },
    ]);
  });
});

describe('what is saved of it', () => {
  it('does not change afterwards', () => {
    const { noteAt, usage, of } = track();
    noteAt(1, '10.0.0.1');
    const saved = usage();
    const one = of('ci-1');
    noteAt(2, '10.0.0.1');
    noteAt(3, '10.0.0.1', 'curl', 'ci-2');
    expect([...saved.keys()]).toEqual(['ci-1']);
    expect(saved.get('ci-1')).toMatchObject({ lastAt: 1, count: 1, callers: [{ count: 1 }] });
    expect(one?.count).toBe(1);
    expect(usage().get('ci-1')).toMatchObject({ lastAt: 2, count: 2, callers: [{ count: 2 }] });
  });

  it('is there again with the next start, and goes on', () => {
    const before = track();
    before.noteAt(1, '10.0.0.1');
    before.noteAt(2, '10.0.0.1', 'curl', 'ci-2');
    const saved = before.usage();
    const after = track(saved);
    expect(after.lastAt('ci-1')).toBe(1);
    expect(after.changed()).toBe(false);
    after.noteAt(9, '10.0.0.1');
    expect(after.of('ci-1')).toMatchObject({ count: 2, callers: [{ firstAt: 1, lastAt: 9 }] });
    expect([...after.usage().keys()].sort()).toEqual(['ci-1', 'ci-2']);
    expect(saved.get('ci-1')).toMatchObject({ count: 1, callers: [{ lastAt: 1, count: 1 }] });
  });

  it('is needed only where something changed', () => {
    const { noteAt, changed, usage, forget } = track();
    expect(changed()).toBe(false);
    noteAt(1, '10.0.0.1');
    expect(changed()).toBe(true);
    usage();
    expect(changed()).toBe(false);
    forget(['never-seen']);
    expect(changed()).toBe(false);
    forget(['ci-1']);
    expect(changed()).toBe(true);
  });

  it('loses what is forgotten, used or only stored', () => {
    const before = track();
    for (const id of ['ci-1', 'ci-2', 'ci-3']) before.noteAt(1, '10.0.0.1', 'curl', id);
    const after = track(before.usage());
    after.noteAt(2, '10.0.0.1', 'curl', 'ci-1');
    after.forget(['ci-1', 'ci-2']);
    expect([...after.usage().keys()]).toEqual(['ci-3']);
    expect([after.of('ci-1'), after.lastAt('ci-2')]).toEqual([undefined, undefined]);
  });
});
