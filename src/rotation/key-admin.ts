import { MASTER } from '../client-name.ts';
import type { DeclaredPlaces } from '../config/load.ts';
import { changedLimits } from '../keyring/client-limits.ts';
import { type Command, unknownClient, unknownGeneration } from '../keyring/command.ts';
import { digestOf } from '../keyring/key.ts';
import {
  activeOf,
  type Client,
  findGeneration,
  type Generation,
  type Idempotency,
  idOf,
  type Keyring,
  readId,
  type Tombstone,
  tombstonesByClient,
} from '../keyring/keyring.ts';
import type { KeyFiles } from '../store/key-files.ts';
import {
  type Actor,
  type AddClientRequest,
  AdminError,
  type AdminErrorCode,
  adminErrorOf,
  type ChangeView,
  type ClientView,
  type KeyAdmin,
  type RotateRequest,
  type RotateView,
  type RotationOutcome,
  type SetClientRequest,
} from './admin.ts';
import {
  clientsFileView,
  clientView,
  comebacksOf,
  generationView,
  type StatusFacts,
  statusView,
  type ViewSources,
  whoView,
} from './describe.ts';
import type { Keeper } from './keeper.ts';
import { compromisedIn, type RotationResult, type Rotator } from './rotate.ts';

interface KeyAdminOptions {
  readonly keeper: Keeper;
  readonly rotator: Rotator;
  readonly keyFiles: KeyFiles;
  readonly places: DeclaredPlaces;
  readonly sources: ViewSources;
  readonly status: StatusFacts;
  /** Milliseconds: the grace where a rotation names none. */
  readonly graceMs: number;
  /** How many exchanges were cut for a compromised generation; each number is given once. */
  readonly takeCut: (generation: string) => number;
  /** Told of a rotation that was asked for and not done; the keeper tells of the others. */
  readonly onNotRotated: (by: Actor, outcome: Exclude<RotationOutcome, 'done'>) => void;
}

/** Carries out what operators ask, over the admin API and from the command line. */
export function createKeyAdmin(options: KeyAdminOptions): KeyAdmin {
  const { keeper, sources, onNotRotated } = options;
  const verb =
    (kind: 'disable' | 'enable' | 'remove') =>
    (client: string, by: Actor): Promise<ChangeView> =>
      change(options, { kind, client }, client, by);
  const remove = verb('remove');
  const clients = (): readonly ClientView[] => {
    const keyring = keeper.keyring();
    const ended = tombstonesByClient(keyring);
    return [...keyring.clients.values()]
      .filter(({ removed }) => !removed)
      .map((each) => clientView(each, ended.get(each.name) ?? [], sources));
  };

  return {
    status: () => statusView(clients(), options.status),
    clients,
    client: (name) => viewOf(options, clientNamed(keeper, name)),
    clientsFile: () => clientsFileView(keeper.keyring()),
    who(id) {
      const { client, generation } = generationNamed(keeper, id);
      return whoView(keeper.keyring(), client, generation, sources);
    },
    comebacks: () => comebacksOf(keeper.keyring(), sources),
    rotate: (request, by) => tellUnlessDone(onNotRotated, by, () => rotate(options, request, by)),
    addClient: (request, by) =>
      tellUnlessDone(onNotRotated, by, () => addClient(options, request, by)),
    async rollback(name, from, by) {
      const view = await change(options, { kind: 'rollback', client: name, from }, name, by);
      return { ...view, notes: [...view.notes, ...(await republish(options, name))] };
    },
    async revoke({ generation: id, force, compromised }, by) {
      const { client, generation } = generationNamed(keeper, id);
      const mayBreakCallers = !('endedAt' in generation) && !force && !compromised;
      if (mayBreakCallers) refuseInUse(options, client, [generation]);
      return await change(options, { kind: 'revoke', generation: id, compromised }, client, by);
    },
    setClient: (request, by) => setClient(options, request, by),
    disable: verb('disable'),
    enable: verb('enable'),
    async remove(name, force, by) {
      const client = clientNamed(keeper, name);
      if (!force) refuseInUse(options, name, client.generations);
      const view = await remove(name, by);
      await options.keyFiles.remove(name);
      return view;
    },
  };
}

/** The codes of a rotation that failed; with every other code it was refused. */
const FAILURES: ReadonlySet<AdminErrorCode> = new Set(['publish_failed', 'store_unavailable']);

async function tellUnlessDone<T>(
  onNotRotated: KeyAdminOptions['onNotRotated'],
  by: Actor,
  rotation: () => Promise<T>,
): Promise<T> {
  try {
    return await rotation();
  } catch (error) {
    const refused = error instanceof AdminError && !FAILURES.has(error.code);
    onNotRotated(by, refused ? 'refused' : 'failed');
    throw error;
  }
}

async function rotate(
  options: KeyAdminOptions,
  request: RotateRequest,
  by: Actor,
): Promise<RotateView> {
  const { keeper, rotator } = options;
  const { graceMs = options.graceMs, compromised, force, idempotencyKey } = request;
  const entry = clientNamed(keeper, request.client);
  const active = activeOf(entry);
  const endsAtOnce = graceMs === 0 && !compromised;
  const { name: client } = entry;
  if (endsAtOnce && !force && active !== undefined) refuseInUse(options, client, [active]);
  const idempotency = idempotencyOf(idempotencyKey, [client, graceMs, compromised]);
  const rotation = { client, graceMs, compromised, idempotency, newClient: undefined };
  return rotateView(options, await rotator.rotate(rotation, by));
}

async function addClient(
  options: KeyAdminOptions,
  request: AddClientRequest,
  by: Actor,
): Promise<RotateView> {
  const { sources, rotator, graceMs } = options;
  const { name: client, idempotencyKey, expiresInMs, ...rights } = request;
  const { scopes, allowFrom, namesEndUsers, limits, models } = rights;
  const sorted = [[...scopes].sort(), [...allowFrom].sort()];
  const fields = [client, ...sorted, expiresInMs ?? null, namesEndUsers, limits, models];
  const idempotency = idempotencyOf(idempotencyKey, fields);
  const expiresAt = expiresInMs === undefined ? undefined : sources.now() + expiresInMs;
  const newClient = { ...rights, expiresAt, limits: changedLimits(undefined, limits) };
  const rotation = { client, graceMs, compromised: false, idempotency, newClient };
  return rotateView(options, await rotator.rotate(rotation, by));
}

async function setClient(
  options: KeyAdminOptions,
  { name, ...request }: SetClientRequest,
  by: Actor,
): Promise<ChangeView> {
  const { keeper, sources } = options;
  const { expiresInMs, ...rest } = request;
  const expiresAt = expiresInMs === undefined ? undefined : sources.now() + expiresInMs;
  const changes = { ...rest, ...('expiresInMs' in request && { expiresAt }) };
  const events = await keeper.change([{ kind: 'setClient', client: name, changes }], by);
  const told = events.flatMap((event) =>
    event.kind === 'clientChanged' ? Object.entries(event.changes) : [],
  );
  const notes = told.map(([field, words]) => `${field}: ${words}`);
  const client = viewOf(options, clientNamed(keeper, name));
  if (notes.length === 0) notes.push('it was so before');
  if (client.unlistedModels.length > 0) {
    notes.push(`LiteLLM does not list: ${client.unlistedModels.join(', ')}`);
  }
  return { client, cut: 0, notes };
}

function idempotencyOf(key: string | undefined, request: unknown): Idempotency | undefined {
  if (key === undefined) return undefined;
  return { digest: digestOf(key), fingerprint: digestOf(JSON.stringify(request)) };
}

/** Refuses to end keys that somebody used within the hour, and says who would break. */
function refuseInUse(
  { keeper, sources }: KeyAdminOptions,
  client: string,
  generations: readonly Generation[],
): void {
  for (const generation of generations) {
    const who = whoView(keeper.keyring(), client, generation, sources);
    const { id, recentCallers, inFlight } = who.generation;
    if (recentCallers === 0 && inFlight === 0) continue;
    throw new AdminError('in_use', `${id} was used in the last hour`, {
      hints: ['wait until nobody uses it (sidecar who), or go on with --force'],
      who,
    });
  }
}

function rotateView(options: KeyAdminOptions, result: RotationResult): RotateView {
  const { keeper, sources, takeCut } = options;
  const { client, number } = result;
  const { generation } = generationNamed(keeper, idOf(client, number));
  const view = (each: Generation | Tombstone) => generationView(client, each, sources);
  return {
    client,
    generation: view(generation),
    previous: previousOf(keeper.keyring(), client, number).map(view),
    publish: sources.targets(client),
    key: result.key?.reveal() ?? null,
    replayed: result.replayed,
    clientState: viewOf(options, clientNamed(keeper, client)).state,
    cut: result.revoked.reduce((sum, id) => sum + takeCut(id), 0),
  };
}

/** What a rotation's answer tells of: the keys that are still good, or the one that ended. */
function previousOf(
  keyring: Keyring,
  name: string,
  made: number,
): readonly (Generation | Tombstone)[] {
  const valid = keyring.clients.get(name)?.generations ?? [];
  const older = [...valid, ...(tombstonesByClient(keyring).get(name) ?? [])]
    .filter(({ number }) => number < made)
    .sort((one, other) => other.number - one.number);
  const retiring = older.filter(({ state }) => state === 'retiring');
  // The active one may be older than what was made, where that was rolled back since.
  return retiring.length > 0 ? retiring : older.slice(0, 1);
}

/** Makes a change that takes keys away or gives them back: it holds at once, saved or not. */
async function change(
  options: KeyAdminOptions,
  command: Command,
  name: string,
  by: Actor,
): Promise<ChangeView> {
  const { keeper, takeCut } = options;
  const events = await keeper.change([command], by, 'at-once');
  const client = keeper.keyring().clients.get(name) ?? clientNamed(keeper, name);
  const cut = compromisedIn(events).reduce((sum, id) => sum + takeCut(id), 0);
  const failed = keeper.storeError();
  const notes =
    failed === undefined ? [] : [`it holds now, and is not saved yet: ${failed.message}`];
  return { client: viewOf(options, client), cut, notes };
}

function viewOf({ keeper, sources }: KeyAdminOptions, client: Client): ClientView {
  const ended = tombstonesByClient(keeper.keyring()).get(client.name) ?? [];
  return clientView(client, ended, sources);
}

/**
 * After a rollback the published key is a revoked one, and the sidecar keeps the plaintext of no
 * older key: where it is declared it is read from there, else the key file goes, and whoever rolled
 * back is told what still holds the revoked key.
 */
async function republish(
  { keeper, rotator, keyFiles, places, sources }: KeyAdminOptions,
  name: string,
): Promise<readonly string[]> {
  const client = keeper.keyring().clients.get(name);
  const active = client && activeOf(client);
  if (active === undefined) return [];
  const reading = name === MASTER ? await places.read() : { value: undefined };
  const key = 'value' in reading ? reading.value?.key : undefined;
  if (key !== undefined && digestOf(key.reveal()) === active.digest) {
    await rotator.publishActive(name, key).catch(() => undefined);
    return [];
  }
  await keyFiles.remove(name).catch(() => undefined);
  const id = idOf(name, active.number);
  const lost = `the sidecar does not keep the key of ${id}: only those who hold it have it`;
  const stale = sources
    .targets(name)
    .map(({ target }) => `${target} holds the key that was revoked: put that of ${id} there`);
  return [lost, ...stale];
}

function clientNamed(keeper: Keeper, name: string): Client {
  const keyring = keeper.keyring();
  const client = keyring.clients.get(name);
  if (client !== undefined && !client.removed) return client;
  throw adminErrorOf(unknownClient(keyring, name).fault);
}

function generationNamed(keeper: Keeper, id: string) {
  const keyring = keeper.keyring();
  const { client, number } = readId(id) ?? { client: '', number: 0 };
  const generation = findGeneration(keyring, client, number);
  if (generation === undefined) throw adminErrorOf(unknownGeneration(keyring, id).fault);
  return { client, generation };
}
