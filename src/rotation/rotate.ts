import type { KeyringEvent } from '../keyring/command.ts';
import { digestOf, generateKey } from '../keyring/key.ts';
import {
  activeOf,
  type Client,
  type DeclaredSource,
  type Idempotency,
  type KeyOrigin,
  type Keyring,
} from '../keyring/keyring.ts';
import { Secret } from '../secret.ts';
import { type Actor, type AddClientRequest, AdminError, type RotateRequest } from './admin.ts';
import type { Keeper } from './keeper.ts';
import type { Publisher } from './publisher.ts';

/** Where the newest key of each client stands in the state folder. */
export interface KeyFiles {
  /** On the disk when it resolves. Rejects with an error of Node's fs. */
  write(client: string, key: Secret): Promise<void>;
  /** Undefined: there is none, or its file is empty. */
  read(client: string): Promise<Secret | undefined>;
  /** Whether there is a file, an empty one too. */
  isThere(client: string): Promise<boolean>;
  remove(client: string): Promise<void>;
}

export interface RotatorOptions {
  readonly keeper: Keeper;
  readonly keyFiles: KeyFiles;
  readonly publisher: Publisher;
  /** The longest grace, in milliseconds. */
  readonly maxGraceMs: number;
}

export interface Rotation {
  readonly client: string;
  readonly key: Secret;
  readonly origin: KeyOrigin;
  readonly source: DeclaredSource | undefined;
  /** Milliseconds. */
  readonly graceMs: number;
  readonly compromised: boolean;
  readonly idempotency: Idempotency | undefined;
  /** Set: the client is made with it. */
  readonly newClient: Pick<Client, 'scopes' | 'allowFrom' | 'expiresAt'> | undefined;
}

export interface Rotator {
  /**
   * Makes a key the active one of its client. The order is what no crash may break: the digest is
   * stored as staged, the key is written where it can be read, and then it becomes active.
   *
   * @throws AdminError where nothing was changed
   */
  rotate(rotation: Rotation, by: Actor): Promise<readonly KeyringEvent[]>;
  /** Goes on with what a crash left: to be called once, before any request is served. */
  recover(): Promise<readonly string[]>;
  /** Writes a client's active key, of which the plaintext is at hand again, to where it belongs. */
  publishActive(client: string, key: Secret): Promise<void>;
}

export function createRotator(options: RotatorOptions): Rotator {
  const { keeper, keyFiles, publisher, maxGraceMs } = options;

  return {
    async rotate({ newClient, key, ...rotation }, by) {
      const { client, compromised } = rotation;
      const digest = digestOf(key.reveal());
      const stage = { kind: 'stage', ...rotation, digest, maxGraceMs } as const;
      const add = newClient && ({ kind: 'addClient', client, ...newClient } as const);
      const staged = await keeper.change(add === undefined ? [stage] : [add, stage], by);
      const number = numberOf(keeper.keyring(), client);
      await writeOrUnstage(options, client, key, by);
      // A key that leaked is taken away before a slow target is waited for.
      const published = !compromised && (await publisher.publish(client, number, key));
      const events = await keeper.change([{ kind: 'commit', client, published }], by, 'at-once');
      if (compromised) void publishLate(options, client, number, key).catch(() => undefined);
      return [...staged, ...events];
    },

    async recover() {
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

    async publishActive(client, key) {
      const entry = keeper.keyring().clients.get(client);
      const active = entry && activeOf(entry);
      if (active === undefined || digestOf(key.reveal()) !== active.digest) return;
      await keyFiles.write(client, key);
      await publishLate(options, client, active.number, key);
    },
  };
}

/** Publishes what is active already; the older keys' clocks wait for it. */
async function publishLate(
  { keeper, publisher }: RotatorOptions,
  client: string,
  number: number,
  key: Secret,
): Promise<void> {
  if (!(await publisher.publish(client, number, key))) return;
  await keeper.change([{ kind: 'published', client, number }], 'sidecar');
}

/** The key file first: where that fails, nobody has seen the key. */
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
    const reason = (cause as Error).message;
    throw new AdminError('publish_failed', `nothing was changed: no key file: ${reason}`, {
      hints: ['let the sidecar write its state folder, or free space on that disk'],
      cause,
    });
  }
}

/** A key that was written may have been read: it becomes active. One that was not, never was. */
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
  return `a rotation of ${client} that was cut off had shown its key to nobody: it never was`;
}

const numberOf = (keyring: Keyring, client: string): number =>
  keyring.clients.get(client)?.staged?.number ?? 0;

/** What a rotation made, or made before for the same `Idempotency-Key`. */
export interface RotationResult {
  readonly client: string;
  readonly number: number;
  /** Null where a newer key has come since, or its file is gone. */
  readonly key: Secret | null;
  readonly replayed: boolean;
  /** Generations that were revoked as compromised. */
  readonly revoked: readonly string[];
}

export interface RotateRequests {
  /** A key of our making; throws `AdminError`. */
  rotate(request: RotateRequest, by: Actor): Promise<RotationResult>;
  addClient(request: AddClientRequest, by: Actor): Promise<RotationResult>;
}

export interface RotateRequestOptions {
  readonly keeper: Keeper;
  readonly rotator: Rotator;
  readonly keyFiles: KeyFiles;
  readonly graceMs: number;
  readonly now: () => number;
}

type Asked = Omit<Rotation, 'key' | 'origin' | 'source'>;

/** Rotations that are asked for: each makes one key, however often its caller asks again. */
export function createRotateRequests(options: RotateRequestOptions): RotateRequests {
  const once = createOnce(options);

  return {
    rotate(request, by) {
      const { client, graceMs = options.graceMs, compromised, idempotencyKey } = request;
      const idempotency = idempotencyOf(idempotencyKey, [client, graceMs, compromised]);
      const rotation = { client, graceMs, compromised, idempotency, newClient: undefined };
      return once(rotation, by);
    },
    addClient(request, by) {
      const { name, scopes, allowFrom, expiresInMs, idempotencyKey } = request;
      const expiresAt = expiresInMs === undefined ? undefined : options.now() + expiresInMs;
      const asked = [name, [...scopes].sort(), [...allowFrom].sort(), expiresInMs ?? null];
      const idempotency = idempotencyOf(idempotencyKey, asked);
      const newClient = { scopes, allowFrom, expiresAt };
      const common = { client: name, graceMs: options.graceMs, compromised: false };
      return once({ ...common, idempotency, newClient }, by);
    },
  };
}

/** Carries a rotation out, or gives the answer that its `Idempotency-Key` was given before. */
function createOnce(options: RotateRequestOptions) {
  /** By client: the same question again, while it is being answered, waits for that answer. */
  const underWay = new Map<string, { digest: string; result: Promise<RotationResult> }>();
  return async (asked: Asked, by: Actor): Promise<RotationResult> => {
    const { client, idempotency } = asked;
    if (idempotency === undefined) return await make(options, asked, by);
    const same = underWay.get(client);
    if (same?.digest === idempotency.digest) return { ...(await same.result), replayed: true };
    const before = await answeredBefore(options, client, idempotency);
    if (before !== undefined) return before;
    const result = make(options, asked, by);
    underWay.set(client, { digest: idempotency.digest, result });
    const forget = (): void => {
      if (underWay.get(client)?.result === result) underWay.delete(client);
    };
    result.then(forget, forget);
    return await result;
  };
}

async function make(
  { keeper, rotator }: RotateRequestOptions,
  asked: Asked,
  by: Actor,
): Promise<RotationResult> {
  const { client } = asked;
  const key = new Secret(generateKey());
  const events = await rotator.rotate({ ...asked, key, origin: 'made', source: undefined }, by);
  const number = newestOf(keeper.keyring().clients.get(client));
  const revoked = events.flatMap((event) =>
    event.kind === 'revoked' && event.compromised ? [event.generation] : [],
  );
  return { client, number, key, replayed: false, revoked };
}

/** Undefined: it is asked for the first time. */
async function answeredBefore(
  { keeper, keyFiles }: RotateRequestOptions,
  client: string,
  idempotency: Idempotency,
): Promise<RotationResult | undefined> {
  const entry = keeper.keyring().clients.get(client);
  const known = entry?.idempotency;
  if (known?.digest !== idempotency.digest) return undefined;
  if (known.fingerprint !== idempotency.fingerprint) throw mismatch();
  const { number } = known;
  const digest = entry?.generations.find((each) => each.number === number)?.digest;
  const key = await keyFiles.read(client);
  const still = key !== undefined && digestOf(key.reveal()) === digest;
  return { client, number, key: still ? key : null, replayed: true, revoked: [] };
}

function idempotencyOf(key: string | undefined, request: unknown): Idempotency | undefined {
  if (key === undefined) return undefined;
  return { digest: digestOf(key), fingerprint: digestOf(JSON.stringify(request)) };
}

const mismatch = (): AdminError =>
  new AdminError('idempotency_mismatch', 'this Idempotency-Key was used for another request', {
    hints: ['make a new one for each rotation; use it again only to try the same one again'],
  });

const newestOf = (client: Client | undefined): number => {
  const active = client && activeOf(client);
  return active?.number ?? client?.generations.at(-1)?.number ?? 0;
};
