import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import { canConnect } from '../../src/litellm/ask.ts';
import { createServers } from '../support/servers.ts';

const { listen, endAll } = createServers();

describe('canConnect', () => {
  it('is true where something listens, and asks it nothing', async () => {
    let asked = 0;
    const url = await listen(createServer(() => asked++));
    expect(await canConnect(url, 1000)).toBe(true);
    expect(asked).toBe(0);
  });

  it('is true for an IPv6 address in brackets', async () => {
    const url = await listen(createServer(), '::1').catch(() => undefined);
    // A machine without IPv6 has nothing to show here.
    if (url !== undefined) expect(await canConnect(url, 1000)).toBe(true);
  });

  it('is false where nothing listens, and where the name does not resolve', async () => {
    const url = await listen(createServer());
    endAll();
    expect(await canConnect(url, 1000)).toBe(false);
    expect(await canConnect(new URL('http://litellm.invalid:4000'), 2000)).toBe(false);
  });
});
