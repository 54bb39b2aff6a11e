import { digestOf } from '../keyring/digest.ts';
import { generateKey } from '../keyring/key-format.ts';
import { activeOf, type Client, type Idempotency, idOf, MASTER } from '../keyring/keyring.ts';
import { Secret } from '../secret.ts';
import { type Actor, type AddClientRequest, AdminError, type RotateRequest } from './admin.ts';
import type { Keeper } from './keeper.ts';
import type { KeyFiles, Rotation, Rotator } from './rotate.ts';

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

/** Rotations that are asked for: each makes one key, however often its caller asks again. */
export function createRotateRequests(options: RotateRequestOptions): RotateRequests {
  const { keeper, rotator, keyFiles } = options;
  /** By client: the same question again, while it is being answered, waits for that answer. */
  const underWay = new Map<string, { digest: string; result: Promise<RotationResult> }>();

  const make = async (
    rotation: Omit<Rotation, 'key' | 'origin' | 'source'>,
    by: Actor,
  ): Promise<RotationResult> => {
    const key = new Secret(generateKey());
    const made = { ...rotation, key, origin: 'made', source: undefined } as const;
    const events = await rotator.rotate(made, by);
    const number = newestOf(keeper.keyring().clients.get(rotation.client));
    const revoked = events.flatMap((event) =>
      event.kind === 'revoked' && event.compromised ? [event.generation] : [],
    );
    return { client: rotation.client, number, key, replayed: false, revoked };
  };

  /** The answer that was given before; undefined: this is the first time. */
  const again = async (
    client: string,
    idempotency: Idempotency,
  ): Promise<RotationResult | undefined> => {
    const known = keeper.keyring().clients.get(client)?.idempotency;
    if (known?.digest !== idempotency.digest) return undefined;
    if (known.fingerprint !== idempotency.fingerprint) throw mismatch();
    const { number } = known;
    const entry = keeper.keyring().clients.get(client);
    const digest = entry?.generations.find((each) => each.number === number)?.digest;
    const key = await keyFiles.read(client);
    const still = key !== undefined && digestOf(key.reveal()) === digest;
    return { client, number, key: still ? key : null, replayed: true, revoked: [] };
  };

  const once = async (
    rotation: Omit<Rotation, 'key' | 'origin' | 'source'>,
    by: Actor,
    refuse: () => void,
  ): Promise<RotationResult> => {
    const { client, idempotency } = rotation;
    if (idempotency === undefined) {
      refuse();
      return await make(rotation, by);
    }
    const same = underWay.get(client);
    if (same?.digest === idempotency.digest) return { ...(await same.result), replayed: true };
    const before = await again(client, idempotency);
    if (before !== undefined) return before;
    refuse();
    const result = make(rotation, by);
    underWay.set(client, { digest: idempotency.digest, result });
    const forget = (): void => {
      if (underWay.get(client)?.result === result) underWay.delete(client);
    };
    result.then(forget, forget);
    return await result;
  };

  return {
    rotate(request, by) {
      const { client, graceMs = options.graceMs, compromised, idempotencyKey } = request;
      const idempotency = idempotencyOf(idempotencyKey, [client, graceMs, compromised]);
      const rotation = { client, graceMs, compromised, idempotency, newClient: undefined };
      return once(rotation, by, () => refuseReserved(keeper, client));
    },
    addClient(request, by) {
      const { name, scopes, allowFrom, expiresInMs } = request;
      const expiresAt = expiresInMs === undefined ? undefined : options.now() + expiresInMs;
      const idempotency = idempotencyOf(request.idempotencyKey, [
        name,
        [...scopes].sort(),
        [...allowFrom].sort(),
        expiresInMs ?? null,
      ]);
      const { graceMs } = options;
      const newClient = { scopes, allowFrom, expiresAt };
      const rotation = { client: name, graceMs, compromised: false, idempotency, newClient };
      return once(rotation, by, () => undefined);
    },
  };
}

/** Before its first rotation is complete, a client has nothing to rotate. */
function refuseReserved(keeper: Keeper, name: string): void {
  const client = keeper.keyring().clients.get(name);
  if (name !== MASTER && client?.removed === true) {
    throw new AdminError('unknown_client', `the client ${name} was removed`, {
      hints: [`sidecar clients add ${name}`],
    });
  }
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

/** The id of the newest generation that a result speaks of. */
export const resultId = ({ client, number }: RotationResult): string => idOf(client, number);
