import { MASTER } from '../client-name.ts';
import type { DeclaredPlaces } from '../config/load.ts';
import type { Command } from '../keyring/command.ts';
import { digestOf } from '../keyring/key.ts';
import {
  activeOf,
  type Client,
  type Generation,
  type Idempotency,
  idOf,
  isValid,
  type Keyring,
} from '../keyring/keyring.ts';
import type { KeyFiles } from '../store/key-files.ts';
import { nearest } from '../text/nearest.ts';
import {
  type Actor,
  type AddClientRequest,
  AdminError,
  type AdminErrorCode,
  type ChangeView,
  type ClientView,
  type KeyAdmin,
  type RotateRequest,
  type RotateView,
  type RotationOutcome,
} from './admin.ts';
import {
  clientView,
  findGeneration,
  generationView,
  olderValid,
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
    (kind: 'disable' | 'enable' | 'remove' | 'rollback') =>
    async (name: string, by: Actor): Promise<ChangeView> =>
      await change(options, [{ kind, client: clientNamed(keeper, name).name }], name, by);
  const remove = verb('remove');
  const rollback = verb('rollback');
  const clients = (): readonly ClientView[] =>
    listedIn(keeper.keyring()).map((each) => clientView(each, sources));

  return {
    status: () => statusView(clients(), options.status),
    clients,
    client: (name) => clientView(clientNamed(keeper, name), sources),
    who(id) {
      const { client, generation } = generationNamed(keeper, id);
      return whoView(client.name, generation, sources);
    },
    rotate: (request, by) => tellUnlessDone(onNotRotated, by, () => rotate(options, request, by)),
    addClient: (request, by) =>
      tellUnlessDone(onNotRotated, by, () => addClient(options, request, by)),
    async rollback(name, by) {
      const view = await rollback(name, by);
      return { ...view, notes: [...view.notes, ...(await republish(options, name))] };
    },
    async revoke({ generation: id, force, compromised }, by) {
      const { client, generation } = generationNamed(keeper, id);
      const mayBreakCallers = isValid(generation) && !force && !compromised;
      if (mayBreakCallers) refuseInUse(client, [generation], sources);
      const command = { kind: 'revoke', generation: id, compromised } as const;
      return await change(options, [command], client.name, by);
    },
    disable: verb('disable'),
    enable: verb('enable'),
    async remove(name, force, by) {
      const client = clientNamed(keeper, name);
      if (!force) refuseInUse(client, client.generations.filter(isValid), sources);
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
  const { keeper, sources, rotator } = options;
  const { graceMs = options.graceMs, compromised, force, idempotencyKey } = request;
  const entry = clientNamed(keeper, request.client);
  const active = activeOf(entry);
  const endsAtOnce = graceMs === 0 && !compromised;
  if (endsAtOnce && !force && active !== undefined) refuseInUse(entry, [active], sources);
  const { name: client } = entry;
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
  const { name: client, scopes, allowFrom, expiresInMs, idempotencyKey } = request;
  const fields = [client, [...scopes].sort(), [...allowFrom].sort(), expiresInMs ?? null];
  const idempotency = idempotencyOf(idempotencyKey, fields);
  const expiresAt = expiresInMs === undefined ? undefined : sources.now() + expiresInMs;
  const newClient = { scopes, allowFrom, expiresAt };
  const rotation = { client, graceMs, compromised: false, idempotency, newClient };
  return rotateView(options, await rotator.rotate(rotation, by));
}

function idempotencyOf(key: string | undefined, request: unknown): Idempotency | undefined {
  if (key === undefined) return undefined;
  return { digest: digestOf(key), fingerprint: digestOf(JSON.stringify(request)) };
}

/** Refuses to end keys that somebody used within the hour, and says who would break. */
function refuseInUse(
  client: Client,
  generations: readonly Generation[],
  sources: ViewSources,
): void {
  for (const generation of generations) {
    const who = whoView(client.name, generation, sources);
    const { id, recentCallers, inFlight } = who.generation;
    if (recentCallers === 0 && inFlight === 0) continue;
    throw new AdminError('in_use', `${id} was used in the last hour`, {
      hints: ['wait until nobody uses it (sidecar who), or go on with --force'],
      who,
    });
  }
}

function rotateView(
  { keeper, sources, takeCut }: KeyAdminOptions,
  result: RotationResult,
): RotateView {
  const client = keeper.keyring().clients.get(result.client);
  const generation = client?.generations.find(({ number }) => number === result.number);
  if (client === undefined || generation === undefined) {
    throw unknownGeneration(keeper, idOf(result.client, result.number));
  }
  const view = (each: Generation) => generationView(client.name, each, sources);
  return {
    client: client.name,
    generation: view(generation),
    previous: previousOf(client, generation).map(view),
    publish: sources.targets(client.name),
    key: result.key?.reveal() ?? null,
    replayed: result.replayed,
    cut: result.revoked.reduce((sum, id) => sum + takeCut(id), 0),
  };
}

/** What a rotation's answer tells of: the keys that are still good, or the one that ended. */
function previousOf(client: Client, made: Generation): readonly Generation[] {
  const valid = olderValid(client).filter(({ number }) => number < made.number);
  if (valid.length > 0) return valid;
  const before = client.generations.filter(({ number }) => number < made.number).at(-1);
  return before === undefined ? [] : [before];
}

/** Makes a change that takes keys away or gives them back: it holds at once, saved or not. */
async function change(
  { keeper, sources, takeCut }: KeyAdminOptions,
  commands: readonly Command[],
  name: string,
  by: Actor,
): Promise<ChangeView> {
  const events = await keeper.change(commands, by, 'at-once');
  const client = keeper.keyring().clients.get(name) ?? clientNamed(keeper, name);
  const cut = compromisedIn(events).reduce((sum, id) => sum + takeCut(id), 0);
  const failed = keeper.storeError();
  const notes =
    failed === undefined ? [] : [`it holds now, and is not saved yet: ${failed.message}`];
  return { client: clientView(client, sources), cut, notes };
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

const listedIn = (keyring: Keyring): readonly Client[] =>
  [...keyring.clients.values()].filter(({ removed }) => !removed);

function clientNamed(keeper: Keeper, name: string): Client {
  const client = keeper.keyring().clients.get(name);
  if (client !== undefined && !client.removed) return client;
  const names = listedIn(keeper.keyring()).map((each) => each.name);
  throw new AdminError('unknown_client', `there is no client ${name}`, {
    hints: [didYouMean(name, names, 'sidecar clients list')],
  });
}

function generationNamed(keeper: Keeper, id: string) {
  const found = findGeneration(keeper.keyring(), id);
  if (found !== undefined) return found;
  throw unknownGeneration(keeper, id);
}

function unknownGeneration(keeper: Keeper, id: string): AdminError {
  const ids = listedIn(keeper.keyring()).flatMap(({ name, generations }) =>
    generations.map(({ number }) => idOf(name, number)),
  );
  return new AdminError('unknown_generation', `there is no generation ${id}`, {
    hints: [didYouMean(id, ids, 'sidecar status')],
  });
}

function didYouMean(name: string, known: readonly string[], otherwise: string): string {
  const near = nearest(name, known);
  return near === undefined ? otherwise : `did you mean ${near}?`;
}
