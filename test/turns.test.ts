import { EventEmitter, once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createTurns, createWakes } from '../src/turns.ts';

describe('turns', () => {
  it('are taken one after the other, in the order in which they came', async () => {
    const inTurn = createTurns();
    const said: string[] = [];
    const gate = new EventEmitter();
    const one = inTurn(async () => {
      said.push('one begins');
      await once(gate, 'open');
      said.push('one ends');
    });
    const two = inTurn(async () => said.push('two'));
    await Promise.resolve();
    expect(said).toEqual(['one begins']);
    gate.emit('open');
    await Promise.all([one, two]);
    expect(said).toEqual(['one begins', 'one ends', 'two']);
  });

  it('tell a failure to the one who brought the work, and go on', async () => {
    const inTurn = createTurns();
    const failed = inTurn(() => Promise.reject(new Error('full disk')));
    const after = inTurn(async () => 'done');
    await expect(failed).rejects.toThrow('full disk');
    expect(await after).toBe('done');
    await inTurn.settled();
  });
});

describe('wakes', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('work at the start, and then after as long as the work said', async () => {
    const work = vi.fn(async () => 1000);
    const wakes = createWakes(work);
    wakes.wakeIn(0);
    await vi.advanceTimersByTimeAsync(5000);
    expect(work).not.toHaveBeenCalled();
    wakes.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(work).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(2000);
    expect(work).toHaveBeenCalledTimes(3);
    wakes.wakeIn(10);
    await vi.advanceTimersByTimeAsync(10);
    expect(work).toHaveBeenCalledTimes(4);
    wakes.close();
    await vi.advanceTimersByTimeAsync(5000);
    expect([work.mock.calls.length, wakes.isClosed()]).toEqual([4, true]);
  });

  it('work once more where they were woken while they worked', async () => {
    const gate = new EventEmitter();
    const work = vi
      .fn(async () => 60_000)
      .mockImplementationOnce(async () => {
        await once(gate, 'open');
        return 60_000;
      });
    const wakes = createWakes(work);
    wakes.start();
    await vi.advanceTimersByTimeAsync(0);
    wakes.wakeIn(30_000);
    gate.emit('open');
    await vi.advanceTimersByTimeAsync(0);
    expect(work).toHaveBeenCalledTimes(2);
    wakes.close();
  });
});
