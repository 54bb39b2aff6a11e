import { digestOf, generateKey } from '../../src/keyring/key.ts';
import type { GenerationState, Scope } from '../../src/keyring/keyring.ts';
import type { KeyringSnapshot, KnownKey } from '../../src/keyring/snapshot.ts';
import { createRouteTable } from '../../src/litellm/routes.ts';
import { createBlockLists } from '../../src/proxy/address.ts';
import type { Policy } from '../../src/proxy/decide.ts';

export const OPEN_TABLE = { inferencePaths: [], denyPaths: [], allowPaths: [] };

/** Keys of clients with one scope each, with two, of some addresses, and of each state. */
export const KEYS = {
  full: generateKey(),
  inference: generateKey(),
  passthrough: generateKey(),
  both: generateKey(),
  office: generateKey(),
  retiring: generateKey(),
  retired: generateKey(),
  revoked: generateKey(),
} as const;

const FAULTS: Partial<Record<GenerationState, KnownKey['fault']>> = {
  retired: 'expired_key',
  revoked: 'revoked_key',
};

/** The first generation of a client, with what a test wants otherwise. */
export const knownKey = (client: string, changes: Partial<KnownKey> = {}): KnownKey => ({
  id: `${client}-1`,
  client,
  state: 'active',
  scopes: new Set<Scope>(['full']),
  allowFrom: [],
  endUser: undefined,
  limits: undefined,
  models: undefined,
  fault: changes.state === undefined ? undefined : FAULTS[changes.state],
  validUntil: Infinity,
  startsClock: false,
  ...changes,
});

/** A snapshot with each of these keys. */
export const snapshotOf = (keys: Iterable<readonly [string, KnownKey]>): KeyringSnapshot => ({
  byDigest: new Map([...keys].map(([key, known]) => [digestOf(key), known])),
});

const scoped = (client: string, ...scopes: Scope[]): KnownKey =>
  knownKey(client, { scopes: new Set(scopes) });

/** The blocks of the client `office`. */
export const OFFICE = ['10.0.0.0/8', '2001:db8::/32'] as const;

/** When the key `retiring` ends, by the clock of `policyWith`, which stands at 0. */
export const RETIRES_AT = 1000;

/** A policy with these keys and LiteLLM's routes; whoever changes it gets one of his own. */
export const policyWith = (changes: Partial<Policy> = {}): Policy => ({
  rootPath: '',
  classify: createRouteTable(OPEN_TABLE),
  credential: { keyHeader: undefined },
  keepProviderAuth: false,
  bodyLimit: 0,
  admission: {
    keyring: snapshotOf([
      [KEYS.full, scoped('full', 'full')],
      [KEYS.inference, scoped('inference', 'inference')],
      [KEYS.passthrough, scoped('passthrough', 'passthrough')],
      [KEYS.both, scoped('both', 'inference', 'passthrough')],
      [KEYS.office, knownKey('office', { allowFrom: OFFICE })],
      [KEYS.retiring, knownKey('retiring', { state: 'retiring', validUntil: RETIRES_AT })],
      [KEYS.retired, knownKey('retired', { state: 'retired' })],
      [KEYS.revoked, knownKey('revoked', { state: 'revoked' })],
    ]),
    now: () => 0,
    mayComeFrom: createBlockLists(),
    mayManageFrom: () => true,
  },
  ...changes,
});
