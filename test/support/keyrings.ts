import * as fc from 'fast-check';
import { type AuditEntry, appendLine } from '../../src/keyring/audit.ts';
import { digestOf } from '../../src/keyring/key.ts';
import {
  type AuditHead,
  type Client,
  EMPTY_KEYRING,
  type Generation,
  type Keyring,
  type Tombstone,
} from '../../src/keyring/keyring.ts';

/** Keyrings that were not made by transitions: for tests of what only keeps them. */
const BORN = 1_700_000_000_000;

export const generationOf = (
  client: string,
  number: number,
  over: Partial<Generation> = {},
): Generation => ({
  number,
  digest: digestOf(`${client}-${number}`),
  state: 'active',
  origin: 'made',
  createdAt: BORN + number,
  publishedAt: undefined,
  afterCompromise: false,
  retirement: undefined,
  ...over,
});

export const tombstoneOf = (
  client: string,
  number: number,
  over: Partial<Tombstone> = {},
): Tombstone => ({
  client,
  number,
  digest: digestOf(`${client}-${number}`),
  state: 'retired',
  origin: 'made',
  createdAt: BORN + number,
  publishedAt: BORN + number,
  endedAt: BORN + number + 501,
  clockStarted: true,
  ...over,
});

/** The last of `generations` is active and the one before it retires; `keyringOf` has the rest. */
export function clientOf(name: string, generations: number, over: Partial<Client> = {}): Client {
  const before = generations - 1;
  const rotatedAt = BORN + before + 1;
  const retiring = generationOf(name, before, {
    state: 'retiring',
    publishedAt: BORN + before,
    retirement: { rotatedAt, graceMs: 500, latestEnd: rotatedAt + 900, deadline: undefined },
  });
  const row = [...(before > 0 ? [retiring] : []), generationOf(name, generations)];
  return {
    name,
    scopes: ['full'],
    allowFrom: [],
    namesEndUsers: false,
    limits: undefined,
    models: [],
    inFile: false,
    createdAt: BORN,
    expiresAt: undefined,
    disabled: false,
    disabledByHand: false,
    removed: false,
    lastNumber: (over.generations ?? row).at(-1)?.number ?? 0,
    generations: row,
    staged: undefined,
    idempotency: undefined,
    ...over,
  };
}

/** The numbers of a client that none of its generations has are those of tombstones. */
export const keyringOf = (clients: readonly Client[], over: Partial<Keyring> = {}): Keyring => ({
  ...EMPTY_KEYRING,
  clients: new Map(clients.map((client) => [client.name, client])),
  tombstones: new Map(clients.flatMap(endedOf).map((each) => [each.digest, each])),
  changedAt: BORN + 1_000_000,
  ...over,
});

const endedOf = ({ name, lastNumber, generations }: Client): Tombstone[] =>
  Array.from({ length: lastNumber }, (_, at) => at + 1)
    .filter((number) => !generations.some((each) => each.number === number))
    .map((number) => tombstoneOf(name, number));

export const entryOf = (detail: string): AuditEntry => ({
  at: '2026-01-01T00:00:00.000Z',
  by: 'cli:alice',
  action: 'rotated',
  client: 'master',
  detail: { why: detail },
});

/** The keyring with new lines in its audit, and none from before. */
export function withLines(keyring: Keyring, details: readonly string[]): Keyring {
  const from: AuditHead = { ...keyring.audit, pending: [] };
  const audit = details.reduce((head, each) => appendLine(head, entryOf(each)), from);
  return { ...keyring, audit };
}

/** What a store gives back of a keyring: its lines are where they belong. */
export const settledOf = (keyring: Keyring): Keyring => ({
  ...keyring,
  audit: { ...keyring.audit, pending: [] },
});

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => {
  return Buffer.from(bytes).toString('base64url');
});

const anyClient = (name: string): fc.Arbitrary<Client> =>
  fc
    .record({
      generations: fc.integer({ min: 1, max: 6 }),
      scopes: fc.constantFrom<Client['scopes']>(['full'], ['inference', 'passthrough']),
      allowFrom: fc.constantFrom<readonly string[]>([], ['10.0.0.0/8', 'fd00::/8']),
      expiresAt: fc.option(fc.integer({ min: BORN + 1, max: 9e15 }), { nil: undefined }),
      staging: fc.option(fc.record({ digest, fingerprint: fc.string() }), { nil: undefined }),
      source: fc.constantFrom(undefined, 'file' as const, 'dotenv' as const),
      called: fc.option(fc.record({ digest, fingerprint: fc.string({ unit: 'binary' }) }), {
        nil: undefined,
      }),
    })
    .map(({ generations, scopes, allowFrom, expiresAt, staging, source, called }) =>
      clientOf(name, generations, {
        allowFrom,
        ...(name !== 'master' && { scopes, expiresAt }),
        staged: staging && {
          number: generations + 1,
          digest: digestOf(`${name}-${generations + 1}`),
          origin: source === undefined ? 'made' : 'declared',
          stagedAt: BORN + 50,
          graceMs: 10,
          maxGraceMs: 20,
          compromised: false,
          source,
          idempotency: { ...staging },
        },
        idempotency: called && { ...called, number: generations },
      }),
    );

/** Any keyring that holds its invariants, without lines in its audit. */
export const anyKeyring: fc.Arbitrary<Keyring> = fc
  .record({
    clients: fc.tuple(anyClient('master'), anyClient('ci'), anyClient('staging')),
    some: fc.integer({ min: 0, max: 3 }),
    declared: fc.record(
      { file: digest, dotenv: digest, environment: digest },
      { requiredKeys: [] },
    ),
  })
  .map(({ clients, some, declared }) =>
    keyringOf(clients.slice(0, some), { declared: { ...declared } }),
  );
