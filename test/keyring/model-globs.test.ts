import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createUnlistedModels,
  LONGEST_MODEL,
  mayUseModels,
} from '../../src/keyring/model-globs.ts';

it('names and globs that match nothing of what is listed are found', () => {
  const unlisted = createUnlistedModels(['gpt-4o', 'gpt-4o-mini', 'mock', 'openai/*']);
  const all = ['gpt-4o', 'gpt-4o*', '*', '*mini', 'openai/gpt-5', 'openai/*', 'openai/o*'];
  expect(unlisted(all)).toEqual([]);
  const none = ['gpt-5', 'Gpt-4o', 'gpt-4o-m', 'mock-*', 'azure/*', '*-maxi'];
  expect(unlisted([...none, 'mock', ...none])).toEqual([...none, ...none]);
  expect(createUnlistedModels([])(['mock'])).toEqual(['mock']);
});

describe('a list of models', () => {
  it.each([
    [['mock'], ['mock'], ['mock2', 'Mock', 'moc', '', 'mock ', 'x/mock']],
    [['gpt-4o*'], ['gpt-4o', 'gpt-4o-mini', 'gpt-4o/x'], ['gpt-4', 'openai/gpt-4o']],
    [['*'], ['', 'mock', 'a/b'], []],
    [
      ['openai/*', 'mock'],
      ['openai/', 'openai/gpt', 'mock'],
      ['openai', 'azure/openai/gpt'],
    ],
    [['*-mini'], ['-mini', 'gpt-mini'], ['mini', 'gpt-mini-2']],
    [['a*b*c'], ['abc', 'axbxc', 'abcbc'], ['ab', 'ac', 'abcx', 'acb']],
    [['ab*ba'], ['abba', 'abxba'], ['aba']],
    [['a**b'], ['ab', 'axb'], ['a']],
    [
      ['gpt-[45]', 'c?d'],
      ['gpt-[45]', 'c?d'],
      ['gpt-4', 'cxd'],
    ],
    [[], [], ['mock', '']],
  ])('%j allows %j, and not %j', (globs, allowed, denied) => {
    const mayUse = mayUseModels(globs);
    expect(allowed.filter((name) => !mayUse(name))).toEqual([]);
    expect(denied.filter(mayUse)).toEqual([]);
  });

  it('matches what a regular expression does', () => {
    const piece = fc.stringMatching(/^[ab*]{0,8}$/);
    fc.assert(
      fc.property(piece, fc.stringMatching(/^[ab]{0,8}$/), (glob, name) => {
        const regex = new RegExp(`^${glob.split('*').join('[^]*')}$`);
        expect(mayUseModels([glob])(name)).toBe(regex.test(name));
      }),
    );
  });

  it('is compiled once', () => {
    const globs = ['gpt-4o*'];
    expect(mayUseModels(globs)).toBe(mayUseModels(globs));
    expect(mayUseModels([...globs])).not.toBe(mayUseModels(globs));
  });

  it('takes no more time for a glob of many stars, and compares no endless name', () => {
    const mayUse = mayUseModels([`${'*a'.repeat(100)}*b`]);
    const began = performance.now();
    for (let at = 0; at < 1000; at++) mayUse('a'.repeat(LONGEST_MODEL));
    expect(performance.now() - began).toBeLessThan(2000);
    expect(mayUseModels(['*'])('a'.repeat(LONGEST_MODEL))).toBe(true);
    expect(mayUseModels(['*'])('a'.repeat(LONGEST_MODEL + 1))).toBe(false);
  });
});
