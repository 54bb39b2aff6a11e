import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isClientName } from '../../src/client-name.ts';
import { idOf, readId } from '../../src/keyring/keyring.ts';

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

describe('the id of a generation', () => {
  it('is read as it is written', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}[a-z0-9]$/).filter(isClientName);
    fc.assert(
      fc.property(name, fc.integer({ min: 1 }), (client, number) => {
        expect(readId(idOf(client, number))).toEqual({ client, number });
      }),
    );
  });

  it.each(['', 'master', 'master-', 'master-0', 'master-01', 'master--1', 'master-1 ', '-1'])(
    'is not %j',
    (id) => {
      expect(readId(id)).toBeUndefined();
    },
  );
});
