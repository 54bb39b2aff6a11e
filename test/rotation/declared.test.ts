import { describe, expect, it } from 'vitest';
import {
  EMPTY_KEYRING,
  type Generation,
  type GenerationState,
  type Keyring,
  type Tombstone,
} from '../../src/keyring/keyring.ts';
import { planDeclared } from '../../src/rotation/declared.ts';
import { clientOf, generationOf, keyringOf, tombstoneOf } from '../support/keyrings.ts';

const keyring = (declared: Keyring['declared'], ...states: GenerationState[]): Keyring => {
  const generations: Generation[] = [];
  const tombstones = new Map<string, Tombstone>();
  for (const [at, state] of states.entries()) {
    const digest = `digest-${at + 1}`;
    if (state === 'active' || state === 'retiring') {
      generations.push(generationOf('master', at + 1, { state, digest }));
    } else {
      tombstones.set(digest, tombstoneOf('master', at + 1, { state, digest }));
    }
  }
  return keyringOf([clientOf('master', 0, { generations })], { declared, tombstones });
};

describe('a declared key', () => {
  it('that is the active one is nothing, and is remembered where it was not', () => {
    const active = (declared: Keyring['declared']) =>
      planDeclared(keyring(declared, 'retiring', 'active'), 'dotenv', 'digest-2');
    expect(active({ dotenv: 'digest-2' })).toEqual({ kind: 'nothing' });
    expect(active({})).toEqual({ kind: 'remember' });
    expect(active({ environment: 'digest-2' })).toEqual({ kind: 'remember' });
  });

  it('that is being made the active one is nothing: our own publishing came back early', () => {
    const before = keyring({}, 'active');
    const master = before.clients.get('master');
    if (master === undefined) throw new Error('it is not there');
    const staged = {
      number: 2,
      digest: 'digest-2',
      origin: 'made',
      stagedAt: 0,
      graceMs: 0,
      maxGraceMs: 0,
      compromised: false,
      source: undefined,
      idempotency: undefined,
    } as const;
    const during = { ...before, clients: new Map([['master', { ...master, staged }]]) };
    expect(planDeclared(during, 'dotenv', 'digest-2')).toEqual({ kind: 'nothing' });
  });

  it.each(['retiring', 'retired', 'revoked'] as const)(
    'that was acted on and is %s by now is stale, and no rotation',
    (state) => {
      const plan = planDeclared(
        keyring({ dotenv: 'digest-1' }, state, 'active'),
        'dotenv',
        'digest-1',
      );
      expect(plan).toEqual({ kind: 'stale', generation: 'master-1', state });
    },
  );

  it('that is new is a rotation, as is an old one that is declared anew', () => {
    const known = keyring({ dotenv: 'digest-2' }, 'revoked', 'active');
    expect(planDeclared(known, 'dotenv', 'digest-9')).toEqual({ kind: 'rotate' });
    // The keyring refuses it then, with the reason.
    expect(planDeclared(known, 'dotenv', 'digest-1')).toEqual({ kind: 'rotate' });
    expect(planDeclared(known, 'file', 'digest-1')).toEqual({ kind: 'rotate' });
    expect(planDeclared(EMPTY_KEYRING, 'dotenv', 'digest-1')).toEqual({ kind: 'rotate' });
  });
});
