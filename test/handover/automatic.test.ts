import { describe, expect, it } from 'vitest';
import {
  createBackoff,
  type DueConditions,
  dueHandover,
  scheduledRotationAt,
} from '../../src/handover/automatic.ts';
import { ConfigTreeError } from '../../src/litellm/config.ts';
import { handingOver, MINUTE, START, serving } from './scene.ts';

const DAY = 24 * 60 * MINUTE;
const around = (changes: Partial<DueConditions> = {}): DueConditions => ({
  ...{ everyMs: 0, autoReload: false, config: undefined, running: 'one' },
  notBefore: { schedule: 0, config: 0 },
  ...changes,
});
const made = serving({ keyMadeAt: { a: START } });

describe('what begins by itself', () => {
  it('is a rotation, when the key is that old: a restart neither skips nor repeats it', () => {
    expect(scheduledRotationAt(made, 0)).toBeUndefined();
    expect(scheduledRotationAt(made, DAY)).toBe(START + DAY);
    const every = around({ everyMs: DAY });
    expect(dueHandover(made, every, START + DAY - 1)).toBeUndefined();
    expect(dueHandover(made, every, START + DAY)).toBe('schedule');
    // A clock that is on trial makes nothing due.
    expect(dueHandover(made, every, START + 400 * DAY, START + DAY - 1)).toBeUndefined();
    expect(dueHandover(made, every, START + 400 * DAY, START + DAY)).toBe('schedule');
    const later = around({ everyMs: DAY, notBefore: { schedule: START + DAY + 5, config: 0 } });
    expect(dueHandover(made, later, START + DAY)).toBeUndefined();
    expect(dueHandover(made, later, START + DAY + 5)).toBe('schedule');
  });

  it('is no rotation of a LiteLLM that never came up, nor of one that is handed over', () => {
    const never = serving({ keyMadeAt: { a: START }, verifiedAt: undefined });
    expect(scheduledRotationAt(never, DAY)).toBeUndefined();
    const every = around({ everyMs: DAY });
    expect(dueHandover(handingOver('draining'), every, START + 9 * DAY)).toBeUndefined();
  });

  it('is a reload, where what stands there is neither what runs nor what was refused', () => {
    const edited = around({ autoReload: true, config: 'two' });
    expect(dueHandover(made, edited, START)).toBe('config');
    expect(dueHandover(made, { ...edited, autoReload: false }, START)).toBeUndefined();
    expect(dueHandover(made, { ...edited, running: 'two' }, START)).toBeUndefined();
    expect(
      dueHandover(made, { ...edited, config: new ConfigTreeError('gone') }, START),
    ).toBeUndefined();
    expect(dueHandover({ ...made, refusedConfig: 'two' }, edited, START)).toBeUndefined();
    expect(dueHandover({ ...made, refusedConfig: 'three' }, edited, START)).toBe('config');
    const notBefore = { schedule: 0, config: START + 1 };
    expect(dueHandover(made, { ...edited, notBefore }, START)).toBeUndefined();
  });

  it('waits longer each time it fails, from a minute to an hour', () => {
    const backoff = createBackoff();
    const waits = Array.from({ length: 9 }, () => {
      backoff.failed(START);
      return (backoff.notBefore() - START) / MINUTE;
    });
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    backoff.succeeded();
    expect(backoff.notBefore()).toBe(0);
    backoff.failed(START);
    expect(backoff.notBefore()).toBe(START + MINUTE);
  });
});
