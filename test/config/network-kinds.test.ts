import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blocks, host, keyHeader } from '../../src/config/kinds.ts';
import { type Kind, readAs } from '../../src/config/units.ts';

/** The value, or the hint. */
const read = <T>(kind: Kind<T>, text: string): unknown => {
  const result = readAs(kind, text);
  return 'value' in result ? result.value : result;
};

describe('a host', () => {
  it.each(['0.0.0.0', '127.0.0.1', '::', '::1', 'localhost', 'a-b.example', 'x1'])(
    'may be %s',
    (text) => {
      expect(read(host, text)).toBe(text);
    },
  );
  it.each([
    ['', ''],
    ['[::]', 'without the brackets'],
    ['0.0.0.0:4000', 'the port is a setting of its own'],
    [':4000', 'the port is a setting of its own'],
    ['*', 'did you mean 0.0.0.0?'],
    ['256.0.0.1', ''],
    ['1.2.3', ''],
    ['-a', ''],
    ['a..b', ''],
    ['a b', ''],
    ['http://x', ''],
    [`${'a'.repeat(64)}.example`, ''],
  ])('may not be %j', (text, hint) => {
    expect(read(host, text)).toEqual({ hint });
  });
});

describe('blocks of addresses', () => {
  it.each([
    ['', []],
    ['10.0.0.0/8', ['10.0.0.0/8']],
    ['192.0.2.7', ['192.0.2.7/32']],
    ['fd00::/8, ::1', ['fd00::/8', '::1/128']],
    ['0.0.0.0/0,::/0', ['0.0.0.0/0', '::/0']],
    ['::ffff:10.0.0.0/104', ['10.0.0.0/8']],
    ['::ffff:10.1.2.3', ['10.1.2.3/32']],
  ])('%j is %j', (text, value) => {
    expect(read(blocks, text)).toEqual(value);
  });

  it.each([
    ['10.1.2.3/8', 'did you mean 10.0.0.0/8, or 10.1.2.3 alone?'],
    ['fd00::1/8', 'did you mean fd00::/8, or fd00::1 alone?'],
    ['10.0.0.0/33', 'the number after / is from 0 to 32'],
    ['::/129', 'the number after / is from 0 to 128'],
    ['10.0.0.0/', 'the number after / is from 0 to 32'],
    ['10.0.0.0/-1', 'the number after / is from 0 to 32'],
    ['::ffff:0:0/95', 'write it as an IPv4 block'],
    ['10.0.0.0/8/8', ''],
    ['10.0', ''],
    ['0x0a000000', ''],
    ['010.0.0.0/8', ''],
    ['fe80::1%eth0', ''],
    ['localhost', ''],
    ['10.0.0.0/8 10.1.0.0/16', ''],
    ['10.0.0.0/8,no', ''],
  ])('refuses %j', (text, hint) => {
    expect(read(blocks, text)).toEqual({ hint });
  });

  it('are read again as they are shown', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6());
    fc.assert(
      fc.property(fc.array(address, { minLength: 1, maxLength: 4 }), (addresses) => {
        const value = read(blocks, addresses.join(','));
        expect(value).toHaveLength(addresses.length);
        expect(read(blocks, blocks.show(value as string[]))).toEqual(value);
      }),
    );
  });

  it('are never anything for text that is no address', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (text) => {
        const value = read(blocks, `x${text}`);
        expect(Array.isArray(value)).toBe(false);
      }),
    );
  });
});

describe('the header of the key', () => {
  it.each([
    ['X-Api-Key', 'x-api-key'],
    ['authorization', 'authorization'],
    ['x_team.key', 'x_team.key'],
  ])('%s becomes %s', (text, name) => {
    expect(read(keyHeader, text)).toBe(name);
  });

  it.each(['', 'x api', 'x:y', 'schlüssel', 'a\r\nb', 'x'.repeat(65)])('is not %j', (text) => {
    expect(read(keyHeader, text)).toEqual({ hint: '' });
  });

  it.each([
    ...['Connection', 'keep-alive', 'TE', 'Trailer', 'Transfer-Encoding', 'Upgrade'],
    ...['Proxy-Authorization', 'Host', 'Expect', 'Content-Length', 'content-type', 'Accept'],
    ...['X-Forwarded-For', 'Sec-WebSocket-Protocol', 'x-request-id', 'mcp-session-id', 'Cookie'],
  ])('is not %s, which means something else', (text) => {
    const hint = 'that header has a meaning of its own; take one such as x-api-key';
    expect(read(keyHeader, text)).toEqual({ hint });
  });
});
