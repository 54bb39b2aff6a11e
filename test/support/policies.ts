import { digestOf } from '../../src/keyring/digest.ts';
import { generateKey } from '../../src/keyring/key-format.ts';
import type { Generation, GenerationState, Scope } from '../../src/keyring/snapshot.ts';
import type { Policy } from '../../src/proxy/decide.ts';
import { createRouteTable } from '../../src/upstream/routes.ts';

export const OPEN_TABLE = { inferencePaths: [], denyPaths: [], allowPaths: [] };

/** Keys of clients with one scope each, and of each state a key can be in. */
export const KEYS = {
  full: generateKey(),
  inference: generateKey(),
  passthrough: generateKey(),
  retiring: generateKey(),
  retired: generateKey(),
  revoked: generateKey(),
} as const;

const generation = ([name, scope, state]: readonly [keyof typeof KEYS, Scope, GenerationState]): [
  string,
  Generation,
] => [digestOf(KEYS[name]), { id: `${name}-1`, client: name, state, scopes: new Set([scope]) }];

/** A policy with these keys and LiteLLM's routes; whoever changes it gets one of his own. */
export const policyWith = (changes: Partial<Policy> = {}): Policy => ({
  rootPath: '',
  classify: createRouteTable(OPEN_TABLE),
  credential: { keyHeader: undefined },
  keepProviderAuth: false,
  bodyLimit: 0,
  admission: {
    keyring: {
      byDigest: new Map(
        [
          ['full', 'full', 'active'] as const,
          ['inference', 'inference', 'active'] as const,
          ['passthrough', 'passthrough', 'active'] as const,
          ['retiring', 'full', 'retiring'] as const,
          ['retired', 'full', 'retired'] as const,
          ['revoked', 'full', 'revoked'] as const,
        ].map(generation),
      ),
    },
    mayManageFrom: () => true,
  },
  ...changes,
});
