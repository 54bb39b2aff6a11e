import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  clientAddress,
  createBlockLists,
  createUnbelievedNote,
  defaultGateway,
  inBlocks,
  NO_ADDRESS,
  networksOf,
  plainAddress,
} from '../../src/proxy/address.ts';
import { headOf } from '../support/heads.ts';

describe('blocks of addresses', () => {
  it.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['2001:db8::/32', '2001:db8:1::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
    ['::1', '::1', true],
    ['::/0', '10.0.0.1', false],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['10.0.0.0/8', '', false],
    ['0.0.0.0/0', 'unknown', false],
    ['0.0.0.0/0', '10.0.0.1:80', false],
  ])('%s and %s: %s', (block, address, expected) => {
    expect(inBlocks([block])(address)).toBe(expected);
  });

  it('hold nobody where there are none, and all of several', () => {
    expect(inBlocks([])('127.0.0.1')).toBe(false);
    const several = inBlocks(['10.0.0.0/8', '::1']);
    expect([several('::1'), several('10.1.1.1'), several('192.0.2.1')]).toEqual([
      true,
      true,
      false,
    ]);
  });
});

describe('many lists of blocks', () => {
  it('are each read once, and told apart by their identity', () => {
    const isIn = createBlockLists();
    let reads = 0;
    const counted = new Proxy(['10.0.0.0/8'], {
      get(list, name, self) {
        if (name === '0') reads += 1;
        return Reflect.get(list, name, self);
      },
    });
    expect(isIn(counted, '10.1.2.3')).toBe(true);
    expect(isIn(counted, '192.0.2.1')).toBe(false);
    expect(reads).toBe(1);
    expect(isIn(['192.0.2.0/24'], '192.0.2.1')).toBe(true);
    expect(isIn(['192.0.2.0/24'], '10.1.2.3')).toBe(false);
    expect(isIn([], '10.1.2.3')).toBe(false);
  });

  it('let nobody in where one cannot be read', () => {
    const isIn = createBlockLists();
    const broken = ['10.0.0.0/8', 'nonsense'];
    for (const _ of [1, 2]) expect(() => isIn(broken, '10.1.2.3')).toThrow();
  });
});

describe('the address of a client', () => {
  const isTrusted = inBlocks(['10.0.0.0/8', 'fd00::/8']);
  it.each([
    ['a stranger says what he likes', '192.0.2.1', '203.0.113.7', '192.0.2.1'],
    ['a proxy says nothing', '10.0.0.1', undefined, '10.0.0.1'],
    ['a proxy says it', '10.0.0.1', '203.0.113.7', '203.0.113.7'],
    ['the client lies to the proxy', '10.0.0.1', '1.1.1.1, 203.0.113.7', '203.0.113.7'],
    ['two proxies', '10.0.0.1', '1.1.1.1, 203.0.113.7, 10.0.0.2', '203.0.113.7'],
    ['all are proxies', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['garbage behind the proxy', '10.0.0.1', '203.0.113.7, unknown', NO_ADDRESS],
    ['garbage farther away', '10.0.0.1', 'garbage, 10.0.0.2', NO_ADDRESS],
    ['an obfuscated name (RFC 7239)', '10.0.0.1', '_hidden', NO_ADDRESS],
    ['an empty field', '10.0.0.1', '', NO_ADDRESS],
    ['commas alone', '10.0.0.1', ',,', NO_ADDRESS],
    ['an empty element', '10.0.0.1', '203.0.113.7, , 10.0.0.2,', '203.0.113.7'],
    ['a port', '10.0.0.1', '203.0.113.7:51234', '203.0.113.7'],
    ['a port of a trusted proxy', '10.0.0.1', '203.0.113.7, 10.0.0.2:8080', '203.0.113.7'],
    ['a port without a number', '10.0.0.1', '203.0.113.7:', NO_ADDRESS],
    ['a port that is none', '10.0.0.1', '203.0.113.7:65536', NO_ADDRESS],
    ['octal', '10.0.0.1', '010.0.0.7', NO_ADDRESS],
    ['octal in v6', '10.0.0.1', '::ffff:010.0.0.7', NO_ADDRESS],
    ['v4 in a v6 that does not mean it', '10.0.0.1', '::10.0.0.7', NO_ADDRESS],
    ['v4 in v6 with a port', '10.0.0.1', '[::FFFF:203.0.113.7]:443', '203.0.113.7'],
    ['two parts', '10.0.0.1', '10.7', NO_ADDRESS],
    ['IPv6', 'fd00::1', '2001:db8::7', '2001:db8::7'],
    ['IPv6 at length', 'fd00::1', '2001:0db8:0:0:0:0:0:0007', '2001:db8::7'],
    ['IPv6 with a port', 'fd00::1', '[2001:db8::7]:443', '2001:db8::7'],
    ['IPv6 in brackets', 'fd00::1', '[2001:db8::7]', '2001:db8::7'],
    ['v4 in brackets', 'fd00::1', '[203.0.113.7]', NO_ADDRESS],
    ['a bracket alone', 'fd00::1', '[2001:db8::7', NO_ADDRESS],
    ['v4 in hexadecimal v6', '10.0.0.1', '::ffff:cb00:7107', '203.0.113.7'],
    ['a v4 peer on a v6 socket', '::ffff:10.0.0.1', '::ffff:203.0.113.7', '203.0.113.7'],
  ])('where %s', (_, peer, forwardedFor, expected) => {
    expect(clientAddress(peer, forwardedFor, isTrusted)).toBe(expected);
  });

  it('is never one that only the client wrote', () => {
    const hop = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.constant('10.0.0.2'));
    fc.assert(
      fc.property(fc.array(hop), fc.ipV4(), (said, real) => {
        fc.pre(!isTrusted(real));
        // The last proxy appended whom it saw.
        expect(clientAddress('10.0.0.1', [...said, real].join(', '), isTrusted)).toBe(real);
        expect(clientAddress(real, said.join(', '), isTrusted)).toBe(real);
      }),
    );
  });
});

it.each([
  [['eth0\t00000000\t010011AC\t0003', 'eth0\t000011AC\t00000000\t0001'], '172.17.0.1'],
  [['eth0\t000011AC\t00000000\t0001', 'eth1\t00000000\tFE0A0A0A\t0003'], '10.10.10.254'],
  [['eth0\t000011AC\t00000000\t0001'], undefined],
  [['eth0\t00000000\tnonsense\t0003'], undefined],
  [[], undefined],
])('finds the default gateway in %j', (lines, gateway) => {
  const head = 'Iface\tDestination\tGateway \tFlags';
  expect(defaultGateway([head, ...lines, ''].join('\n'))).toBe(gateway);
});

it('tells once of a proxy that nobody named', () => {
  const told: string[] = [];
  const note = createUnbelievedNote((peer) => told.push(peer));
  const from = (peer: string, trusted: boolean) => ({ peer, trusted, address: peer });
  const said = headOf('GET /', ['X-Forwarded-For: 203.0.113.7']);
  note(headOf('GET /', ['Host: a']), from('192.0.2.1', false));
  note(said, from('10.0.0.1', true));
  note(said, from('192.0.2.2', false));
  note(said, from('192.0.2.3', false));
  expect(told).toEqual(['192.0.2.2']);
});

it('has no address that any list of blocks holds', () => {
  expect(inBlocks(['0.0.0.0/0', '::/0'])(NO_ADDRESS)).toBe(false);
});

describe('the networks of an address', () => {
  it.each([
    ['192.0.2.1', ['192.0.2.1', '192.0.0.0/16', 'all']],
    ['2001:db8:1:2:3:4:5:6', ['2001:db8:1:2::/64', '2001:db8::/32', 'all']],
    ['2001:db8:1:3::', ['2001:db8:1:3::/64', '2001:db8::/32', 'all']],
    ['::ffff:192.0.2.1', ['192.0.2.1', '192.0.0.0/16', 'all']],
    [NO_ADDRESS, [NO_ADDRESS, 'all']],
    ['', ['', 'all']],
  ])('of %s are %j', (address, networks) => {
    expect(networksOf(address)).toEqual(networks);
  });

  it('are one for all of a /64, and others for the next', () => {
    const part = fc.integer({ min: 0, max: 0xffff });
    const parts = fc.tuple(part, part, part, part, part, part, part, part);
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        const text = (it: readonly number[]) => it.map((each) => each.toString(16)).join(':');
        const same = [...one.slice(0, 4), ...other.slice(4)];
        fc.pre(one[0] !== 0 && one[3] !== other[3]);
        const next = [...one.slice(0, 3), other[3] ?? 0, ...one.slice(4)];
        expect(networksOf(text(same))).toEqual(networksOf(text(one)));
        expect(networksOf(text(next))[0]).not.toBe(networksOf(text(one))[0]);
        expect(networksOf(text(next))[1]).toBe(networksOf(text(one))[1]);
      }),
    );
  });
});

it('is written plainly where a dual-stack socket does not', () => {
  expect(plainAddress('::ffff:192.0.2.1')).toBe('192.0.2.1');
  expect(plainAddress('::1')).toBe('::1');
});
