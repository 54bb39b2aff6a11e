import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cut, oneLine, printable, redact, withoutKeys } from '../../src/text/safe.ts';

describe('one line', () => {
  it('holds no escape sequence, no line break and no more than it may', () => {
    expect(oneLine('\u001b[31mred\u001b[0m\r\n\tx\u0000 y')).toBe('[31mred [0m x y');
    expect(oneLine('a'.repeat(50), 10)).toBe(`${'a'.repeat(9)}…`);
    expect(oneLine('a'.repeat(10), 10)).toBe('a'.repeat(10));
  });
});

describe('a printable text', () => {
  it('has no escape sequence, and nothing that hides or turns what stands beside it', () => {
    expect(printable('\u001b[31mred\u001b[0m\tx\r\n\u0000y')).toBe('red xy');
    expect(printable('a\u202eb\u200bc\u2028d\ud800')).toBe('abcd');
  });
});

describe('a text that is cut', () => {
  it.each([
    ['abcd', 4, 'abcd'],
    ['abcde', 4, 'abc…'],
    ['😀😀😀😀', 4, '😀😀😀😀'],
    ['😀😀😀😀😀', 4, '😀😀😀…'],
  ])('%j to %i is %j', (text, longest, expected) => {
    expect(cut(text, longest)).toBe(expected);
  });
});

describe("a line of somebody else's log", () => {
  it.each([
    ['postgresql://me:pass@db/litellm', 'postgresql://[redacted]@db/litellm'],
    [
      'OPENAI_API_KEY=abc, master_key: "abc"',
      'OPENAI_API_KEY=[redacted], master_key: "[redacted]"',
    ],
    ['api_key: os.environ/OPENAI_API_KEY', 'api_key: os.environ/OPENAI_API_KEY'],
    ['use_client_secret=true', 'use_client_secret=true'],
    ['with gsk_0123456789abcdef', 'with [redacted]'],
    ['Bearer abc', 'Bearer [redacted]'],
  ])('%s loses what may be a secret', (line, expected) => {
    expect(withoutKeys(line)).toBe(expected);
  });
});

const KEY = 'sk-Abc123def456GHI789jkl012MNO345pqr678STU901vwx234yz';
const SAFE = 'abcdefghijklmnop ./:-_0123456789'.split('');

describe('redact', () => {
  it.each([
    [`key ${KEY} was refused`, 'key [redacted] was refused'],
    [`"${KEY}"`, '"[redacted]"'],
    ['authorization: Bearer abc.def/ghi= x', 'authorization: Bearer [redacted] x'],
    ['"bearer  secret-18-chars-xy"', '"bearer  [redacted]"'],
    [
      '/v1beta/models/m:generateContent?key=AIzaXyz&alt=sse',
      '/v1beta/models/m:generateContent?key=[redacted]&alt=sse',
    ],
    ['?alt=sse&KEY=AIzaXyz', '?alt=sse&KEY=[redacted]'],
    ['openai-insecure-api-key.sk-12345678', 'openai-insecure-api-key.[redacted]'],
    [`task-${KEY} and disk-${KEY.slice(3)}`, 'task-[redacted] and di[redacted]'],
    ['\\ndesk sk-12345678, xsk-12345678', '\\ndesk [redacted], x[redacted]'],
    ['%22AIza0123456789abcdef, gsk_0123456789abcdef', '%22[redacted], [redacted]'],
  ])('%s', (text, expected) => {
    expect(redact(text)).toBe(expected);
  });

  it.each([
    ...['', 'sk-1234', 'a task', 'monkey=5', 'bearer', '{"status":200}', 'hf_short'],
    ...[
      '/mnt/disk-storage/state',
      'task-0a1b2c3d4e5f',
      'Task-550e8400-e29b-41d4-a716-446655440000',
    ],
    'a-risk-assessment-v2, flask-application',
  ])('leaves %j as it is', (text) => {
    expect(redact(text)).toBe(text);
  });

  it('leaves no key in any text, and a JSON line a JSON line', () => {
    const text = fc
      .array(fc.constantFrom(...SAFE), { maxLength: 30 })
      .map((parts) => parts.join(''));
    const quoted = fc.string({ maxLength: 10 });
    fc.assert(
      fc.property(text, quoted, text, (before, odd, after) => {
        const line = redact(
          JSON.stringify({ msg: `${before}${KEY}${odd}Bearer ${KEY}${after}`, odd }),
        );
        expect(line).not.toContain(KEY.slice(3));
        expect(JSON.parse(line)).toHaveProperty('odd');
      }),
    );
  });
});
