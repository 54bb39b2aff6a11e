import { describe, expect, it } from 'vitest';
import { contradictions } from '../../src/config/contradictions.ts';

const names = (config: Parameters<typeof contradictions>[0]): string[] =>
  contradictions(config).map(({ name }) => name);

describe('two listeners', () => {
  const both = { port: 4000, opsPort: 4000 };

  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['0.0.0.0', '127.0.0.1'],
    ['127.0.0.1', '::'],
  ])('cannot share a port on %s and %s', (host, opsHost) => {
    expect(contradictions({ ...both, host, opsHost })).toEqual([
      {
        name: 'SIDECAR_OPS_PORT',
        found: '4000, as for SIDECAR_PORT',
        allowed: 'a port of its own',
      },
    ]);
  });

  it.each([
    { ...both, host: '127.0.0.1', opsHost: '127.0.0.2' },
    { host: '::', port: 4000, opsHost: '::', opsPort: 4001 },
    { host: '::', port: 0, opsHost: '::', opsPort: 0 },
    { ...both, host: '::' },
  ])('may be %j', (config) => {
    expect(names(config)).toEqual([]);
  });
});

describe('what is kept for second tries', () => {
  it.each([
    [1024, 1023, ['SIDECAR_REPLAY_TOTAL']],
    [1024, 1024, []],
    [1024, 0, []],
    [0, 0, []],
    [undefined, 1, []],
  ])('%s for one and %s in all', (replayBytes, replayTotalBytes, expected) => {
    expect(
      names({ ...(replayBytes === undefined ? {} : { replayBytes }), replayTotalBytes }),
    ).toEqual(expected);
  });
});

describe('two places for LiteLLM', () => {
  const upstreams = [new URL('http://a:4000'), new URL('http://a:4002')] as const;

  it('want the folder of the slots', () => {
    expect(names({ upstreams, slots: undefined })).toEqual(['SIDECAR_UPSTREAM']);
  });

  it('are right with it, and one place is right without', () => {
    expect(names({ upstreams, slots: '/slots' })).toEqual([]);
    expect(names({ upstreams: [upstreams[0]], slots: undefined })).toEqual([]);
    // What was wrong by itself is said already.
    expect(names({ upstreams })).toEqual([]);
  });
});
