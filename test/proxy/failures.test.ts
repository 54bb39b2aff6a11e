import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createFailureLimiter } from '../../src/proxy/address.ts';

describe('the limit of failed authentications', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('lets so many pass in a minute, then says when the next may come', async () => {
    const { count } = createFailureLimiter(2);
    expect([await count('192.0.2.1'), await count('192.0.2.1')]).toEqual([undefined, undefined]);
    expect(await count('192.0.2.1')).toBe(60);
    await vi.advanceTimersByTimeAsync(59_500);
    expect(await count('192.0.2.1')).toBe(1);
    await vi.advanceTimersByTimeAsync(1000);
    expect(await count('192.0.2.1')).toBeUndefined();
  });

  it('counts each address by itself, and IPv6 by the /64', async () => {
    const { count } = createFailureLimiter(1);
    expect(await count('192.0.2.1')).toBeUndefined();
    expect(await count('192.0.2.2')).toBeUndefined();
    expect(await count('2001:db8::1')).toBeUndefined();
    expect(await count('2001:db8::ffff')).toBeGreaterThan(0);
    expect(await count('2001:db8:0:1::1')).toBeUndefined();
  });

  it('of 0 is none', async () => {
    const { count } = createFailureLimiter(0);
    for (let each = 0; each < 100; each++) expect(await count('192.0.2.1')).toBeUndefined();
  });
});
