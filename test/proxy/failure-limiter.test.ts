import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { NO_ADDRESS } from '../../src/proxy/address.ts';
import { createFailureLimiter } from '../../src/proxy/failure-limiter.ts';

function stage(perMinute: number) {
  const clock = { now: 0 };
  return { clock, ...createFailureLimiter(perMinute, () => clock.now) };
}

/** Bytes of the heap that are in use. */
function heapInUse(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

const v4 = (number: number): string =>
  `${1 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}.1`;

describe('the limit of failed authentications', () => {
  it('lets so many pass in a minute, then says when the next may come', () => {
    const { clock, count } = stage(2);
    expect([count('192.0.2.1'), count('192.0.2.1')]).toEqual([undefined, undefined]);
    expect(count('192.0.2.1')).toBe(60);
    clock.now = 59_500;
    expect(count('192.0.2.1')).toBe(1);
    clock.now = 60_000;
    expect(count('192.0.2.1')).toBeUndefined();
  });

  it('counts each address by itself, and IPv6 by the /64', () => {
    const { count } = stage(1);
    expect(count('192.0.2.1')).toBeUndefined();
    expect(count('192.0.2.2')).toBeUndefined();
    expect(count('2001:db8::1')).toBeUndefined();
    expect(count('2001:db8::ffff')).toBeGreaterThan(0);
    expect(count('2001:db8:0:1::1')).toBeUndefined();
  });

  it('counts those who have no address as one', () => {
    const { count } = stage(1);
    expect(count(NO_ADDRESS)).toBeUndefined();
    expect(count(NO_ADDRESS)).toBe(60);
    expect(count('192.0.2.1')).toBeUndefined();
  });

  it('counts wider networks where ten thousand addresses have failed', () => {
    const { clock, count } = stage(1);
    for (let each = 0; each < 10_000; each++) expect(count(v4(each))).toBeUndefined();
    // One of a network that nobody failed from yet, then its neighbours, which are one with it.
    expect(count('203.0.113.1')).toBeUndefined();
    expect(count('203.0.113.2')).toBe(60);
    expect(count('198.51.100.1')).toBeUndefined();
    // Who has a row keeps it.
    expect(count(v4(0))).toBe(60);
    clock.now = 60_000;
    expect(count('203.0.113.2')).toBeUndefined();
    expect(count('203.0.113.1')).toBeUndefined();
  });

  it('takes a bounded memory, whatever addresses come', () => {
    const { count } = stage(5);
    for (let each = 0; each < 20_000; each++) count(`2001:${each.toString(16)}::1`);
    const before = heapInUse();
    for (let each = 0; each < 60_000; each++) {
      count(`2a${(each & 255).toString(16).padStart(2, '0')}:${(each >> 8).toString(16)}::1`);
    }
    expect(count('2b00:1::1')).toBeGreaterThan(0);
    expect(heapInUse() - before).toBeLessThan(2 * 1024 ** 2);
  });

  it('of 0 is none', () => {
    const { count } = stage(0);
    for (let each = 0; each < 100; each++) expect(count('192.0.2.1')).toBeUndefined();
  });
});
