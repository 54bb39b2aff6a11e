import { describe, expect, it } from 'vitest';
import type { Client, Generation } from '../../src/keyring/keyring.ts';
import { dueClients, nextEnd, nextRotationAt, type Schedule } from '../../src/rotation/schedule.ts';
import { clientOf, generationOf, keyringOf } from '../support/keyrings.ts';

const DAY = 86_400_000;

const generation = (number: number, more: Partial<Generation> = {}): Generation =>
  generationOf('master', number, { createdAt: 0, ...more });

const client = (name: string, more: Partial<Client> = {}): Client =>
  clientOf(name, 0, { generations: [generation(1)], ...more });

const schedule: Schedule = { everyMs: 30 * DAY, clients: new Set(['master', 'ci']) };

describe('the schedule', () => {
  it('goes by when the active key was made, whatever happened since', () => {
    const rotated = client('master', {
      generations: [generation(2, { createdAt: 5 * DAY })],
    });
    expect(nextRotationAt(rotated, schedule)).toBe(35 * DAY);
  });

  it.each([
    ['no schedule', client('master'), { ...schedule, everyMs: 0 }],
    ['no publish target', client('staging'), schedule],
    ['disabled', client('master', { disabled: true }), schedule],
    ['removed', client('ci', { removed: true }), schedule],
    ['no active key', client('ci', { generations: [] }), schedule],
    ['an end before it', client('ci', { expiresAt: 20 * DAY }), schedule],
  ])('has no date for a client with: %s', (_, each, by) => {
    expect(nextRotationAt(each, by)).toBeUndefined();
    expect(dueClients(keyringOf([each]), by, 99 * DAY)).toEqual([]);
  });

  it('is due once its time has come, and once however late it is', () => {
    const keyring = keyringOf([client('master'), client('ci'), client('staging')]);
    expect(dueClients(keyring, schedule, 30 * DAY - 1)).toEqual([]);
    expect(dueClients(keyring, schedule, 30 * DAY)).toEqual(['master', 'ci']);
    expect(dueClients(keyring, schedule, 300 * DAY)).toEqual(['master', 'ci']);
  });
});

describe('the next end of a key', () => {
  const retiring = (number: number, latestEnd: number, deadline?: number): Generation =>
    generation(number, {
      state: 'retiring',
      retirement: { rotatedAt: 0, graceMs: DAY, latestEnd, deadline },
    });

  it('is the first of all deadlines, or of the latest ends where no clock runs', () => {
    const keyring = keyringOf([
      client('master', { generations: [retiring(1, 9 * DAY), generation(2)] }),
      client('ci', { generations: [retiring(1, 9 * DAY, 2 * DAY), generation(2)] }),
    ]);
    expect(nextEnd(keyring)).toBe(2 * DAY);
  });

  it('is never where nothing retires', () => {
    const keyring = keyringOf([client('master', { generations: [generation(2)] })]);
    expect(keyring.tombstones.size).toBe(1);
    expect(nextEnd(keyring)).toBe(Infinity);
  });
});
