import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, nearest } from '../../src/text/nearest.ts';

describe('the distance of two words', () => {
  it.each([
    ['', '', 0],
    ['', 'abc', 3],
    ['port', 'port', 0],
    ['prot', 'port', 1],
    ['porrt', 'port', 1],
    ['pot', 'port', 1],
    ['pert', 'port', 1],
    ['kitten', 'sitting', 3],
  ])('%j to %j is %i', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  it('is the same both ways, and at most the longer length', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        const distance = editDistance(a, b);
        expect(editDistance(b, a)).toBe(distance);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(distance === 0).toBe(a === b);
      }),
    );
  });
});

describe('the nearest word', () => {
  const known = ['PORT', 'OPS_PORT', 'HOLD', 'HOLD_MAX'];

  it.each([
    ['PROT', 'PORT'],
    ['OPSPORT', 'OPS_PORT'],
    ['HOLDMAX', 'HOLD_MAX'],
    ['PORT_FILE', 'PORT'],
    ['SOMETHING_ELSE', undefined],
    ['', undefined],
  ])('to %j is %j', (word, near) => {
    expect(nearest(word, known)).toBe(near);
  });

  it('is not looked for where the word is absurdly long', () => {
    expect(nearest('P'.repeat(81), ['P'.repeat(81)])).toBeUndefined();
  });
});
