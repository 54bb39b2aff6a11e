import { describe, expect, it } from 'vitest';
import { isClientName } from '../src/client-name.ts';

describe('the name of a client', () => {
  it.each(['master', 'a', 'ci-2', 'a--b', `a${'b'.repeat(38)}`])('may be %s', (name) => {
    expect(isClientName(name)).toBe(true);
  });

  it.each([
    ...['', 'A', 'Master', '2ci', '-ci', 'ci-', 'ci_2', 'ci.2', 'ci/2', '../ci', 'ci\n', ' ci'],
    ...[`a${'b'.repeat(39)}`, 'é', 'sk-staging'],
  ])('may not be %j', (name) => {
    expect(isClientName(name)).toBe(false);
  });
});
