import { MASTER } from '../../src/client-name.ts';
import type { Command, KeyringEvent, KeyringFault } from '../../src/keyring/command.ts';
import { digestOf } from '../../src/keyring/key.ts';
import {
  type Client,
  EMPTY_KEYRING,
  findGeneration,
  type Generation,
  type Keyring,
  readId,
  type Tombstone,
  tombstonesByClient,
} from '../../src/keyring/keyring.ts';
import { transition } from '../../src/keyring/transition.ts';

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const START = Date.UTC(2026, 0, 1);

type Stage = Extract<Command, { kind: 'stage' }>;
type Add = Extract<Command, { kind: 'addClient' }>;

/** A keyring that things happen to, and a clock. */
export interface Story {
  now: number;
  readonly keyring: Keyring;
  /** Throws where it is refused. */
  do(command: Command): readonly KeyringEvent[];
  /** The fault, and the keyring as it was; throws where there is none. */
  refused(command: Command): KeyringFault;
  add(client: string, changes?: Partial<Add>): readonly KeyringEvent[];
  /** Stages and commits a key of this name. */
  rotate(client: string, key: string, changes?: Changes): readonly KeyringEvent[];
  client(name: string): Client;
  /** One that is valid. */
  generation(id: string): Generation;
  /** One that is retired or revoked. */
  tombstone(id: string): Tombstone;
  /** States by number, such as `retired active`. */
  states(client: string): string;
}

export type Changes = Partial<Stage> & { readonly published?: boolean };

/** What is staged where a test says nothing else; the digest is that of `key`. */
export const staging = (client: string, key: string, changes: Partial<Stage> = {}): Stage => ({
  kind: 'stage',
  client,
  digest: digestOf(key),
  origin: 'made',
  source: undefined,
  graceMs: DAY,
  maxGraceMs: 30 * DAY,
  compromised: false,
  idempotency: undefined,
  ...changes,
});

export const adding = (client: string, changes: Partial<Add> = {}): Add => ({
  kind: 'addClient',
  client,
  scopes: client === MASTER ? ['full'] : ['inference'],
  allowFrom: [],
  namesEndUsers: false,
  limits: undefined,
  models: [],
  expiresAt: undefined,
  ...changes,
});

export function createStory(): Story {
  let keyring = EMPTY_KEYRING;
  const find = (id: string) => {
    const { client, number } = readId(id) ?? { client: '', number: 0 };
    return findGeneration(keyring, client, number);
  };
  const story: Story = {
    now: START,
    get keyring() {
      return keyring;
    },
    do(command) {
      const done = transition(keyring, command, story.now);
      if (!done.ok) throw new Error(`${done.fault.code}: ${done.fault.message}`);
      keyring = done.keyring;
      return done.events;
    },
    refused(command) {
      const done = transition(keyring, command, story.now);
      if (done.ok) throw new Error(`${command.kind} was carried out`);
      return done.fault;
    },
    add: (client, changes) => story.do(adding(client, changes)),
    rotate(client, key, { published = true, ...changes } = {}) {
      story.do(staging(client, key, changes));
      return story.do({ kind: 'commit', client, published });
    },
    client(name) {
      const client = keyring.clients.get(name);
      if (client === undefined) throw new Error(`no client ${name}`);
      return client;
    },
    generation(id) {
      const found = find(id);
      if (found === undefined || 'endedAt' in found) throw new Error(`no valid generation ${id}`);
      return found;
    },
    tombstone(id) {
      const found = find(id);
      if (found === undefined || !('endedAt' in found)) throw new Error(`no tombstone ${id}`);
      return found;
    },
    states: (client) =>
      [...story.client(client).generations, ...(tombstonesByClient(keyring).get(client) ?? [])]
        .sort((one, other) => one.number - other.number)
        .map(({ state }) => state)
        .join(' '),
  };
  return story;
}

/** Master with its first key, `m1`, published. */
export function createMaster(): Story {
  const story = createStory();
  story.add(MASTER);
  story.rotate(MASTER, 'm1');
  return story;
}
