import { expect, test } from 'vitest';
import { oneLine } from '../../src/text/safe.ts';

test('one line holds no escape sequence, no line break and no more than it may', () => {
  expect(oneLine('\u001b[31mred\u001b[0m\r\n\tx\u0000 y')).toBe('[31mred [0m x y');
  expect(oneLine('a'.repeat(50), 10)).toBe(`${'a'.repeat(9)}…`);
  expect(oneLine('a'.repeat(10), 10)).toBe('a'.repeat(10));
});
