import type { KeyringEvent } from '../keyring/command.ts';
import { digestOf, generateKey } from '../keyring/key.ts';
import {
  activeOf,
  type Client,
  type DeclaredSource,
  findGeneration,
  type Idempotency,
  type KeyOrigin,
} from '../keyring/keyring.ts';
import { Secret } from '../secret.ts';
import type { KeyFiles } from '../store/key-files.ts';
import { type Actor, AdminError } from './admin.ts';
import type { Keeper } from './keeper.ts';
import type { Publisher } from './publisher.ts';

/** A key that is to become the active one of its client. */
export interface Rotation {
  readonly client: string;
  readonly key: Secret;
  readonly origin: KeyOrigin;
  readonly source: DeclaredSource | undefined;
  /** Milliseconds. */
  readonly graceMs: number;
  readonly compromised: boolean;
  readonly idempotency: Idempotency | undefined;
  /** Set: the client is made with the key, as this says. */
  readonly newClient:
    | Pick<Client, 'scopes' | 'allowFrom' | 'expiresAt' | 'namesEndUsers' | 'limits' | 'models'>
    | undefined;
}

/** A rotation to a key that the sidecar makes. */
type RotationToNewKey = Omit<Rotation, 'key' | 'origin' | 'source'>;

/** What a rotation made, or made before for the same `Idempotency-Key`. */
export interface RotationResult {
  readonly client: string;
  readonly number: number;
  /** Null where it was made too long ago, a newer key has come since, or its file is gone. */
  readonly key: Secret | null;
  readonly replayed: boolean;
  /** Ids of generations that were revoked as compromised. */
  readonly revoked: readonly string[];
}

interface RotatorOptions {
  readonly keeper: Keeper;
  readonly keyFiles: KeyFiles;
  readonly publisher: Publisher;
  /** The longest grace, in milliseconds. */
  readonly maxGraceMs: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export type Rotator = ReturnType<typeof createRotator>;

/** Every method that changes something throws `AdminError` where nothing was changed. */
export function createRotator(options: RotatorOptions) {
  const { keeper, keyFiles } = options;
  return {
    /**
     * Makes a new key and activates it, once for each idempotency key: whoever asks again is given
     * the answer of the first time.
     */
    rotate: rotateOnce(options),
    activate: (rotation: Rotation, by: Actor) => activate(options, rotation, by),

    /** Goes on with what a crash left: to be called once, before any request is served. */
    async recover(): Promise<readonly string[]> {
      const notes: string[] = [];
      for (const { name, staged } of keeper.keyring().clients.values()) {
        if (staged === undefined) continue;
        notes.push(await finishStaged(options, name, staged.digest));
      }
      for (const client of keeper.keyring().clients.values()) {
        const active = activeOf(client);
        if (active === undefined || active.publishedAt !== undefined) continue;
        const key = await keyFiles.read(client.name);
        if (key === undefined || digestOf(key.reveal()) !== active.digest) continue;
        void publishLate(options, client.name, active.number, key).catch(() => undefined);
      }
      return notes;
    },

    /** Writes a client's active key, of which the plaintext is at hand again, where it belongs. */
    async publishActive(name: string, key: Secret): Promise<void> {
      const client = keeper.keyring().clients.get(name);
      const active = client && activeOf(client);
      if (active === undefined || digestOf(key.reveal()) !== active.digest) return;
      await keyFiles.write(name, key);
      await publishLate(options, name, active.number, key);
    },
  };
}

function rotateOnce(options: RotatorOptions) {
  /** By client: a call that repeats the one under way waits for the answer to that one. */
  const underWay = new Map<string, Idempotency & { result: Promise<RotationResult> }>();
  return async (rotation: RotationToNewKey, by: Actor): Promise<RotationResult> => {
    const { client, idempotency } = rotation;
    if (idempotency === undefined) return await rotateToNew(options, rotation, by);
    const same = underWay.get(client);
    if (same !== undefined && isRepeated(same, idempotency)) {
      return { ...(await same.result), replayed: true };
    }
    const before = await answeredBefore(options, client, idempotency);
    if (before !== undefined) return before;
    const result = rotateToNew(options, rotation, by);
    underWay.set(client, { ...idempotency, result });
    const forget = (): void => {
      if (underWay.get(client)?.result === result) underWay.delete(client);
    };
    result.then(forget, forget);
    return await result;
  };
}

async function rotateToNew(
  options: RotatorOptions,
  rotation: RotationToNewKey,
  by: Actor,
): Promise<RotationResult> {
  const { client } = rotation;
  const key = new Secret(generateKey());
  const made = { ...rotation, key, origin: 'made', source: undefined } as const;
  const { number, events } = await activate(options, made, by);
  return { client, number, key, replayed: false, revoked: compromisedIn(events) };
}

/**
 * Makes a given key the active one of its client. The order is what no crash may break: the digest
 * is stored as staged, the key is written where it can be read, and then it becomes active.
 */
async function activate(
  options: RotatorOptions,
  { newClient, key, ...rotation }: Rotation,
  by: Actor,
) {
  const { keeper, publisher, maxGraceMs } = options;
  const { client, compromised } = rotation;
  const digest = digestOf(key.reveal());
  const stage = { kind: 'stage', ...rotation, digest, maxGraceMs } as const;
  const add = newClient && ({ kind: 'addClient', client, ...newClient } as const);
  const staged = await keeper.change(add === undefined ? [stage] : [add, stage], by);
  const number = keeper.keyring().clients.get(client)?.staged?.number ?? 0;
  await writeOrUnstage(options, client, key, by);
  // A key that leaked is taken away before a slow target is waited for.
  const published = !compromised && (await publisher.publish(client, number, key));
  const events = await keeper.change([{ kind: 'commit', client, published }], by, 'at-once');
  if (compromised) void publishLate(options, client, number, key).catch(() => undefined);
  return { number, events: [...staged, ...events] };
}

/** Whether a request is one that came before. Throws where its key was that of another request. */
function isRepeated(known: Idempotency, { digest, fingerprint }: Idempotency): boolean {
  if (known.digest !== digest) return false;
  if (known.fingerprint === fingerprint) return true;
  const hint = 'make a new one for each rotation; use it again only to try the same one again';
  const message = 'this Idempotency-Key was used for another request';
  throw new AdminError('idempotency_mismatch', message, { hints: [hint] });
}

/**
 * How long after it was made a key is in the answers to repeated requests: it is shown once, and an
 * `Idempotency-Key` may be guessed. Milliseconds.
 */
const SHOWN_AGAIN_MS = 10 * 60_000;

/** The answer that an idempotency key was given before; undefined: it is new to this client. */
async function answeredBefore(
  { keeper, keyFiles, now }: RotatorOptions,
  name: string,
  idempotency: Idempotency,
): Promise<RotationResult | undefined> {
  const client = keeper.keyring().clients.get(name);
  const known = client?.idempotency;
  if (known === undefined || !isRepeated(known, idempotency)) return undefined;
  const { number } = known;
  const made = findGeneration(keeper.keyring(), name, number);
  const isNew = made !== undefined && now() - made.createdAt <= SHOWN_AGAIN_MS;
  const kept = isNew ? await keyFiles.read(name) : undefined;
  const key = kept !== undefined && digestOf(kept.reveal()) === made?.digest ? kept : null;
  return { client: name, number, key, replayed: true, revoked: [] };
}

/** Ids of the generations that were revoked as compromised. */
export const compromisedIn = (events: readonly KeyringEvent[]): readonly string[] =>
  events.flatMap((each) => (each.kind === 'revoked' && each.compromised ? each.generation : []));

/** Writes the key file before any publish target: where that fails, nobody has seen the key. */
async function writeOrUnstage(
  { keeper, keyFiles }: RotatorOptions,
  client: string,
  key: Secret,
  by: Actor,
): Promise<void> {
  try {
    await keyFiles.write(client, key);
  } catch (cause) {
    await keeper.change([{ kind: 'unstage', client }], by, 'at-once');
    const reason = `the key file cannot be written: ${(cause as Error).message}`;
    throw new AdminError('publish_failed', `nothing was changed: ${reason}`, {
      hints: ['let the sidecar write its state folder, or free space on that disk'],
      cause,
    });
  }
}

/** Publishes a key that is active already; the graces of older keys begin once it is published. */
async function publishLate(
  { keeper, publisher }: RotatorOptions,
  client: string,
  number: number,
  key: Secret,
): Promise<void> {
  if (!(await publisher.publish(client, number, key))) return;
  await keeper.change([{ kind: 'published', client, number }], 'sidecar');
}

/**
 * Ends a rotation that a crash cut off. A staged key that stands in its file may have been read, so
 * it becomes active; one that was not written was seen by nobody, and is dropped.
 */
async function finishStaged(
  { keeper, keyFiles }: RotatorOptions,
  client: string,
  digest: string,
): Promise<string> {
  const key = await keyFiles.read(client);
  if (key !== undefined && digestOf(key.reveal()) === digest) {
    await keeper.change([{ kind: 'commit', client, published: false }], 'sidecar', 'at-once');
    return `a rotation of ${client} that was cut off is complete now`;
  }
  await keeper.change([{ kind: 'unstage', client }], 'sidecar', 'at-once');
  return `a rotation of ${client} that was cut off was undone: nobody had seen its key`;
}
