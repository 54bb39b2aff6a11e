import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Credential,
  readCredential,
  withoutKeyParameters,
  withoutKeySubprotocols,
} from '../../src/proxy/credential.ts';
import { isRefusal } from '../../src/refusal.ts';
import { headOf } from '../support/heads.ts';
import { KEY_CARRIERS } from '../support/key-carriers.ts';

const NOWHERE = { query: undefined, subprotocols: undefined, basic: false };
const read = (
  fields: readonly string[],
  places: Partial<typeof NOWHERE | { query: string; subprotocols: string }> = {},
  keyHeader?: string,
) => readCredential(headOf('POST /', fields), { keyHeader }, { ...NOWHERE, ...places });
const key = (...args: Parameters<typeof read>): string | undefined => {
  const found = read(...args);
  return found !== undefined && isRefusal(found) ? found.code : found?.key;
};

/** How each carrier says the key `k-<carrier>`, in LiteLLM's order. */
const says = (carrier: string): string =>
  carrier === 'authorization' ? `Authorization: Bearer k-${carrier}` : `${carrier}: k-${carrier}`;

describe('a credential', () => {
  it.each(KEY_CARRIERS)('is read from %s', (carrier) => {
    expect(read([says(carrier)])).toEqual({ carrier, key: `k-${carrier}` });
    expect(read([says(carrier).toUpperCase().replace(/: .*/, ': Bearer abc')])).toEqual({
      carrier,
      key: 'abc',
    });
  });

  it('is none where nothing, or nothing but emptiness, is presented', () => {
    expect(read([])).toBeUndefined();
    expect(read(['cookie: key=sk-1', 'litellm_user_api_key: sk-1'])).toBeUndefined();
    expect(read(KEY_CARRIERS.map((carrier) => `${carrier}:`))).toBeUndefined();
  });

  const pairs = KEY_CARRIERS.flatMap((first, at) =>
    KEY_CARRIERS.slice(at + 1).map((second) => [first, second] as const),
  );
  it.each(pairs)('in %s wins over one in %s, whichever stands first', (first, second) => {
    expect(key([says(first), says(second)])).toBe(`k-${first}`);
    expect(key([says(second), says(first)])).toBe(`k-${first}`);
    // An empty one is none, as at LiteLLM.
    expect(key([`${first}:`, says(second)])).toBe(`k-${second}`);
  });

  it.each(KEY_CARRIERS)(
    'that stands twice in %s is refused, even where another wins',
    (carrier) => {
      expect(key([says(carrier), says(carrier)])).toBe('bad_request');
      expect(key([says(KEY_CARRIERS[0]), `${carrier}:`, `${carrier}: x`])).toBe('bad_request');
    },
  );

  it.each([
    ['Bearer sk-a', 'sk-a'],
    ['bearer sk-a', 'sk-a'],
    ['BEARER   sk-a', 'sk-a'],
    ['sk-a', ''],
    ['Basic c2stYQ==', ''],
    ['Bearer', ''],
    ['Bearer\tsk-a', ''],
  ])('of Authorization "%s" is "%s"', (value, expected) => {
    expect(key([`Authorization: ${value}`])).toBe(expected);
  });

  it('is the password of Basic where the route takes that', () => {
    const basic = (text: string) => [
      `Authorization: Basic ${Buffer.from(text).toString('base64')}`,
    ];
    const places = { ...NOWHERE, basic: true };
    expect(key(basic('public:sk-a'), places)).toBe('sk-a');
    expect(key(basic('public:sk:a'), places)).toBe('sk:a');
    expect(key(['Authorization: Bearer sk-a'], places)).toBe('sk-a');
    expect(key(basic('public:sk-a'))).toBe('');
  });

  it.each([
    ['key=sk-a', 'sk-a'],
    ['alt=sse&key=sk-a', 'sk-a'],
    ['%6bey=sk%2Da', 'sk-a'],
    ['k%65y=sk+a', 'sk a'],
    ['alt=sse', undefined],
    ['keys=sk-a&Key=sk-a&key%FF=sk-a', undefined],
    ['key=a&key=a', 'bad_request'],
    ['key=a&%6Bey=b', 'bad_request'],
  ])('in the query %s is %s', (query, expected) => {
    expect(key([], { query })).toBe(expected);
  });

  it('in the query yields to every header, and is refused twice even then', () => {
    for (const carrier of KEY_CARRIERS) {
      expect(key([says(carrier)], { query: 'key=q' })).toBe(`k-${carrier}`);
    }
    expect(key([says('x-api-key')], { query: 'key=q&key=q' })).toBe('bad_request');
  });

  it.each([
    ['openai-insecure-api-key.sk-a', 'sk-a'],
    ['realtime, openai-insecure-api-key.sk-a ,openai-beta.realtime-v1', 'sk-a'],
    ['realtime', undefined],
    ['openai-insecure-api-key.a, openai-insecure-api-key.a', 'bad_request'],
  ])('in the subprotocols %s is %s', (subprotocols, expected) => {
    expect(key([], { subprotocols })).toBe(expected);
  });

  it('in a header of the operator is read there and nowhere else', () => {
    const elsewhere = { query: 'key=q', subprotocols: 'openai-insecure-api-key.s' };
    expect(key(['X-Own: Bearer sk-a', says('authorization')], elsewhere, 'x-own')).toBe('sk-a');
    expect(key(KEY_CARRIERS.map(says), elsewhere, 'x-own')).toBeUndefined();
    expect(key(['X-Own: a', 'x-own: a'], {}, 'x-own')).toBe('bad_request');
  });

  it('is the one of LiteLLM for any mix of carriers', () => {
    const mix = fc.shuffledSubarray([...KEY_CARRIERS], { minLength: 1 });
    fc.assert(
      fc.property(mix, (carriers) => {
        const winner = KEY_CARRIERS.find((carrier) => carriers.includes(carrier));
        expect((read(carriers.map(says)) as Credential).carrier).toBe(winner);
      }),
    );
  });
});

describe('a query without its keys', () => {
  it.each([
    ['key=a', ''],
    ['a=%6b&key=x&b=%', 'a=%6b&b=%'],
    ['%6b%65%79=x&&c', '&c'],
    ['key&keys=1&xkey=2&key%FF=3', 'keys=1&xkey=2&key%FF=3'],
    ['a=key=b', 'a=key=b'],
  ])('%s is %s', (query, rest) => {
    expect(withoutKeyParameters(query)).toBe(rest);
  });

  it('keeps every other parameter byte for byte, in its order', () => {
    const other = fc
      .stringMatching(/^[a-z%+=.]{0,6}$/)
      .filter((pair) => !/^k?%?.*ey?(=|$)/.test(pair));
    const own = fc.constantFrom('key=x', 'key', 'k%65y=%', '%6Bey=1=2');
    fc.assert(
      fc.property(fc.array(fc.oneof(other, own)), (parameters) => {
        const others = parameters.filter((each) => !/^(?:key|k%65y|%6Bey)(?:=|$)/.test(each));
        expect(withoutKeyParameters(parameters.join('&'))).toBe(others.join('&'));
      }),
    );
  });
});

describe('subprotocols without their keys', () => {
  it.each([
    [
      'realtime, openai-insecure-api-key.sk-a, openai-beta.realtime-v1',
      'realtime, openai-beta.realtime-v1',
    ],
    ['openai-insecure-api-key.sk-a', undefined],
    ['openai-insecure-api-key.a,openai-insecure-api-key.b', undefined],
    ['realtime,x', 'realtime, x'],
  ])('%s are %s', (value, rest) => {
    expect(withoutKeySubprotocols(value)).toBe(rest);
  });
});
