import { describe, expect, it } from 'vitest';
import {
  declaredSecret,
  flag,
  headerSecret,
  integer,
  oneOf,
  path,
  port,
  tokenSecret,
} from '../../src/config/kinds.ts';
import { type Kind, listOf, optional, readAs } from '../../src/config/units.ts';
import { Secret } from '../../src/secret.ts';

/** The value, or the hint. */
const read = <T>(kind: Kind<T>, text: string): unknown => {
  const result = readAs(kind, text);
  return 'value' in result ? result.value : result;
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
    const value = read(declaredSecret, 'sk-any thing');
    expect(value).toBeInstanceOf(Secret);
    expect((value as Secret).reveal()).toBe('sk-any thing');
  });
  it.each(['two words', 'line\nbreak', 'ümlaut', 'nul\0'])('for a header may not be %j', (text) => {
    expect(read(headerSecret, text)).toEqual(wrong());
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
      expect(read(tokenSecret, text)).toEqual(wrong());
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
