import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  blocks,
  declaredSecret,
  flag,
  headerSecret,
  host,
  integer,
  keyHeader,
  modelGlob,
  oneOf,
  path,
  pathPatterns,
  port,
  publicUrl,
  rootPath,
  tokenSecret,
  upstreams,
} from '../../src/config/kinds.ts';
import { type Kind, listOf, optional } from '../../src/config/units.ts';
import { createRouteTable } from '../../src/litellm/routes.ts';
import { Secret } from '../../src/secret.ts';

/** The value, or the hint. */
const read = <T>(kind: Kind<T>, text: string): unknown => {
  const result = kind.read(text);
  return 'value' in result ? result.value : result;
};
/** The value as it is shown, or the hint. */
const shown = <T>(kind: Kind<T>, text: string): unknown => {
  const result = kind.read(text);
  return 'value' in result ? kind.show(result.value) : result;
};
const wrong = (hint = '') => ({ hint });

describe('a port', () => {
  it.each(['0', '1', '4000', '65535'])('may be %s', (text) => {
    expect(read(port, text)).toBe(Number(text));
  });
  it.each(['', '65536', '-1', '+1', '4000.0', '0x10', '1e3', '4 000', 'http', '٤'])(
    'may not be %j',
    (text) => {
      expect(read(port, text)).toEqual(wrong());
    },
  );
});

describe('a whole number', () => {
  it('keeps its bounds', () => {
    const kind = integer(2, 10);
    expect(['1', '2', '10', '11'].map((text) => read(kind, text))).toEqual([
      ...[wrong(), 2, 10, wrong()],
    ]);
    expect(kind.show(7)).toBe('7');
  });
});

describe('a model', () => {
  it.each(['mock', 'gpt-4o*', '*', 'openai/gpt-4.*', 'ft:gpt-4o:my-org::x1', 'Claude 3.5'])(
    'may be %s',
    (text) => expect(read(modelGlob, text)).toBe(text),
  );
  it.each([
    ['', ''],
    ['a\u0007b', ''],
    ['m'.repeat(257), ''],
    ['mock,gpt-4o', 'one by one: say it again for each'],
    ['gpt-{4,5}', 'one by one: say it again for each'],
    ['mock|gpt-4o', 'one by one: say it again for each'],
    ['gpt-4?', 'only * has a meaning: any characters'],
    ['gpt-[45]', 'only * has a meaning: any characters'],
    ['^gpt', 'only * has a meaning: any characters'],
    ['!mock', 'only * has a meaning: any characters'],
    ['sk-0123456789abcdef', 'that is a key'],
  ])('may not be %j', (text, hint) => {
    expect(read(modelGlob, text)).toEqual(wrong(hint));
  });
});

describe('a flag', () => {
  it.each([
    ['true', true],
    ['TRUE', true],
    ['1', true],
    ['yes', true],
    ['on', true],
    ['false', false],
    ['0', false],
    ['No', false],
    ['off', false],
  ])('%s is %s', (text, value) => {
    expect(read(flag, text)).toBe(value);
  });
  it.each(['', '2', 'enabled', 'tru'])('may not be %j', (text) => {
    expect(read(flag, text)).toEqual(wrong());
  });
});

describe('one of some words', () => {
  const level = oneOf(['warn', 'info', 'silent']);
  it('reads any case, and says what was meant', () => {
    expect(read(level, 'Info')).toBe('info');
    expect(read(level, 'warning')).toEqual(wrong('did you mean warn?'));
    expect(read(level, 'x')).toEqual(wrong());
  });
});

describe('a path', () => {
  it('is any text without NUL', () => {
    expect(read(path, './state of things')).toBe('./state of things');
    expect(read(path, 'a\0b')).toEqual(wrong());
    expect(read(path, '')).toEqual(wrong());
  });
});

describe('a secret', () => {
  it('is read into a Secret, in one piece', () => {
    const value = read(declaredSecret, 'sk-any=thing');
    expect(value).toBeInstanceOf(Secret);
    expect((value as Secret).reveal()).toBe('sk-any=thing');
  });
  it.each(['two words', 'line\nbreak', 'ümlaut', 'nul\0'])('for a header may not be %j', (text) => {
    expect(read(headerSecret, text)).toHaveProperty('hint');
  });
  it('for a header is visible ASCII', () => {
    expect((read(headerSecret, 'sk-~!x') as Secret).reveal()).toBe('sk-~!x');
  });
});

describe('a token', () => {
  it('is at least 16 characters that a header can carry', () => {
    expect((read(tokenSecret, '0123456789abcdef') as Secret).reveal()).toBe('0123456789abcdef');
    expect(tokenSecret.secret).toBe(true);
  });
  it.each(['0123456789abcde', '', '01234567 89abcdef', '0123456789abcdeü'])(
    'may not be %j',
    (text) => {
      expect(read(tokenSecret, text)).toHaveProperty('hint');
    },
  );
});

describe('what may be left out', () => {
  it('is undefined where it is, and strict where it is not', () => {
    expect(read(optional(port), '')).toBeUndefined();
    expect(read(optional(port), '80')).toBe(80);
    expect(read(optional(port), 'x')).toEqual(wrong());
    expect(optional(port).show(undefined)).toBe('');
    expect(optional(declaredSecret).secret).toBe(true);
  });
});

describe('a list', () => {
  const words = listOf(oneOf(['a', 'b']), 'letters');
  it('passes empty places over, and no wrong one', () => {
    expect(read(words, '')).toEqual([]);
    expect(read(words, 'a, b,')).toEqual(['a', 'b']);
    expect(read(words, 'a,bb')).toEqual(wrong('did you mean b?'));
    expect(words.show(['a', 'b'])).toBe('a,b');
  });
  it('may not be commas alone: nothing allowed must not become everything allowed', () => {
    expect(read(words, ' , ,')).toEqual(wrong('there is nothing between the commas'));
  });
});

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

describe('upstreams', () => {
  it.each([
    ['http://litellm:4000', 'http://litellm:4000'],
    ['http://litellm:4000/', 'http://litellm:4000'],
    ['http://litellm:4000, http://litellm:4002', 'http://litellm:4000,http://litellm:4002'],
    ['http://[::1]:4000', 'http://[::1]:4000'],
    ['HTTP://LiteLLM', 'http://litellm'],
  ])('%s', (text, expected) => {
    expect(shown(upstreams, text)).toBe(expected);
  });

  it.each([
    ['', 'such as http://litellm:4000'],
    ['litellm:4000', 'did you mean http://litellm:4000?'],
    ['litellm', 'did you mean http://litellm?'],
    ['https://litellm', 'LiteLLM is reached over plain HTTP, on its own network'],
    ['http://litellm/v1', "LiteLLM's root path goes into SIDECAR_ROOT_PATH"],
    ['http://litellm/?', 'it must not hold a query'],
    ['http://litellm/#', 'it must not hold a query'],
    ['http://me:secret@litellm', 'it must not hold credentials'],
    ['http://me@litellm', 'it must not hold credentials'],
    ['http://litellm:0', 'no server is reached at port 0'],
    ['http://a,http://b,http://c', 'there are two slots, and 3 URLs'],
    ['http://a:80,http://A', 'the two slots must differ'],
    ['http://a,ftp://b', ''],
    ['http://a:99999', ''],
    ['http://', ''],
    ['not a url', ''],
  ])('refuses %j', (text, hint) => {
    expect(shown(upstreams, text)).toEqual({ hint });
  });
});

describe('the public URL', () => {
  it.each([
    ['https://llm.example', 'https://llm.example'],
    ['https://llm.example/gateway/', 'https://llm.example/gateway'],
    ['http://localhost:4000', 'http://localhost:4000'],
  ])('%s', (text, expected) => {
    expect(shown(publicUrl, text)).toBe(expected);
  });

  it.each([
    ['llm.example', 'did you mean http://llm.example?'],
    ['ws://llm.example', ''],
    ['https://a:b@llm.example', 'it must not hold credentials'],
    ['https://llm.example?x=1', 'it must not hold a query'],
  ])('refuses %j', (text, hint) => {
    expect(shown(publicUrl, text)).toEqual({ hint });
  });
});

describe('the root path', () => {
  it.each([
    ['', ''],
    ['/', ''],
    ['/llm', '/llm'],
    ['/llm/', '/llm'],
    ['/a/b-c', '/a/b-c'],
  ])('%j is %j', (text, value) => {
    expect(read(rootPath, text)).toBe(value);
  });

  it.each([
    ['llm', 'did you mean /llm?'],
    ['//llm', ''],
    ['/llm//', ''],
    ['/a/../b', ''],
    ['/a/.', ''],
    ['/a?b', ''],
    ['/a#b', ''],
    ['/a%2Fb', ''],
    ['/a\\b', ''],
    ['/a b', ''],
    ['/a/*', ''],
  ])('refuses %j', (text, hint) => {
    expect(read(rootPath, text)).toEqual({ hint });
  });
});

describe('patterns of paths', () => {
  it.each([
    ['', []],
    ['/a', ['/a']],
    ['/a/', ['/a']],
    ['/a/b:c/*, /', ['/a/b:c/*', '/']],
    ['/*', ['/*']],
    ['/v1beta/models/m:generateContent', ['/v1beta/models/m:generateContent']],
  ])('%j is %j', (text, value) => {
    expect(read(pathPatterns, text)).toEqual(value);
  });

  const star = 'only /* at the end stands for something else';
  it.each([
    ['a', 'it begins with a slash'],
    ['*', 'it begins with a slash'],
    ['/a*', star],
    ['/a/*/b', star],
    ['/a/**', star],
    ['/models/{model}', star],
    ['/a%2Fb', 'write it decoded: %2F as /, %3A as :'],
    ['/a//', ''],
    ['/a//*', ''],
    ['//', ''],
    ['/a/../b', ''],
    ['/./*', ''],
    ['/a?x=1', ''],
    ['/a\u0000', ''],
    ['/a,b', 'it begins with a slash'],
  ])('refuses %j', (text, hint) => {
    expect(read(pathPatterns, text)).toEqual({ hint });
  });

  it('are such that the table of routes takes whatever was taken here', () => {
    const letters = fc.constantFrom(...'/ab.*:%{}\\'.split(''));
    fc.assert(
      fc.property(fc.string({ unit: letters, maxLength: 8 }), (text) => {
        const paths = read(pathPatterns, text);
        if (!Array.isArray(paths)) return;
        const overrides = { inferencePaths: paths, denyPaths: paths, allowPaths: paths };
        expect(() => createRouteTable(overrides)).not.toThrow();
      }),
      { numRuns: 300 },
    );
  });
});
