import { digestOf, generateKey } from '../keyring/key.ts';
import { activeOf, type Client, type Idempotency } from '../keyring/keyring.ts';
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
