import { MASTER } from '../client-name.ts';
import type { DeclaredPlaces } from '../config/load.ts';
import type { Command, KeyringEvent } from '../keyring/command.ts';
import { digestOf } from '../keyring/key.ts';
import {
  activeOf,
  type Client,
  type Generation,
  idOf,
  isValid,
  type Keyring,
} from '../keyring/keyring.ts';
import { nearest } from '../text/nearest.ts';
import {
  type Actor,
  AdminError,
  type ChangeView,
  type ClientView,
  type KeyAdmin,
  type RotateView,
  type StatusView,
} from './admin.ts';
import {
  clientView,
  findGeneration,
  generationView,
  olderValid,
  type ViewSources,
  whoView,
} from './describe.ts';
import { type KeyEvents, triggerOf } from './events.ts';
import type { Keeper } from './keeper.ts';
import type { Publisher } from './publisher.ts';
import type { KeyFiles, RotateRequests, RotationResult, Rotator } from './rotate.ts';

/** Codes of a rotation that was right to ask for and did not succeed. */
const FAILURES: ReadonlySet<string> = new Set(['publish_failed', 'store_unavailable', 'stopping']);

/** Counts the rotations that were asked for and not done; those that were done tell themselves. */
export function countingAdmin(admin: KeyAdmin, onRotation: KeyEvents['onRotation']): KeyAdmin {
  const counted = async <T>(by: string, job: Promise<T>): Promise<T> => {
    try {
      return await job;
    } catch (error) {
      const refused = error instanceof AdminError && !FAILURES.has(error.code);
      onRotation(triggerOf(by), refused ? 'refused' : 'failed');
      throw error;
    }
  };
  return {
    ...admin,
    rotate: (request, by) => counted(by, admin.rotate(request, by)),
    addClient: (request, by) => counted(by, admin.addClient(request, by)),
  };
}

export interface RepublishOptions {
  readonly keeper: Keeper;
  readonly rotator: Rotator;
  readonly keyFiles: KeyFiles;
  readonly places: DeclaredPlaces;
  readonly targets: Publisher['targets'];
}

/**
 * After a rollback the published key is a revoked one, and the sidecar keeps the plaintext of no
 * older key: where it is declared it is read from there, else the key file goes, and whoever rolled
 * back is told what still holds the revoked key.
 */
export function createRepublish(
  options: RepublishOptions,
): (client: string) => Promise<readonly string[]> {
  const { keeper, rotator, keyFiles, places, targets } = options;
  return async (client) => {
    const entry = keeper.keyring().clients.get(client);
    const active = entry && activeOf(entry);
    if (active === undefined) return [];
    const reading = client === MASTER ? await places.read() : { value: undefined };
    const key = 'value' in reading ? reading.value?.key : undefined;
    if (key !== undefined && digestOf(key.reveal()) === active.digest) {
      await rotator.publishActive(client, key).catch(() => undefined);
      return [];
    }
    await keyFiles.remove(client).catch(() => undefined);
    const id = idOf(client, active.number);
    const lost = `the sidecar does not keep the key of ${id}: only those who hold it have it`;
    const stale = targets(client).map(
      ({ target }) => `${target} holds the key that was revoked: put that of ${id} there`,
    );
    return [lost, ...stale];
  };
}

export interface KeyAdminOptions {
  readonly keeper: Keeper;
  readonly requests: RotateRequests;
  readonly sources: ViewSources;
  /** Milliseconds: the grace where a rotation names none. */
  readonly graceMs: number;
  /** What was cut because a generation was revoked as compromised; asked once for each. */
  readonly takeCut: (generation: string) => number;
  /** After a rollback: puts the active key where it is published, or says why that cannot be. */
  readonly republish: (client: string) => Promise<readonly string[]>;
  /** After a client was removed. */
  readonly forget: (client: string) => Promise<void>;
  readonly status: (clients: readonly ClientView[]) => StatusView;
}

/** The verbs of the admin API and of the command line. */
export function createKeyAdmin(options: KeyAdminOptions): KeyAdmin {
  const { keeper, requests, sources } = options;
  const listed = () => listedIn(keeper.keyring());
  const change = createChange(options);
  const verb =
    (kind: 'disable' | 'enable' | 'remove' | 'rollback') =>
    async (name: string, by: Actor): Promise<ChangeView> =>
      await change([{ kind, client: clientNamed(keeper, name).name }], name, by);
  const remove = verb('remove');
  const rollback = verb('rollback');
  const clients = (): readonly ClientView[] => listed().map((each) => clientView(each, sources));

  return {
    status: () => options.status(clients()),
    clients,
    client: (name) => clientView(clientNamed(keeper, name), sources),
    who(id) {
      const { client, generation } = generationNamed(keeper, id);
      return whoView(client.name, generation, sources);
    },
    async rotate(request, by) {
      const client = clientNamed(keeper, request.client);
      const active = activeOf(client);
      const ends = (request.graceMs ?? options.graceMs) === 0 && !request.compromised;
      if (ends && !request.force && active !== undefined) refuseInUse(client, [active], sources);
      return rotateView(await requests.rotate(request, by), options);
    },
    addClient: async (request, by) => rotateView(await requests.addClient(request, by), options),
    async rollback(name, by) {
      const view = await rollback(name, by);
      return { ...view, notes: [...view.notes, ...(await options.republish(name))] };
    },
    async revoke({ generation: id, force, compromised }, by) {
      const { client, generation } = generationNamed(keeper, id);
      const asks = isValid(generation) && !force && !compromised;
      if (asks) refuseInUse(client, [generation], sources);
      return await change([{ kind: 'revoke', generation: id, compromised }], client.name, by);
    },
    disable: verb('disable'),
    enable: verb('enable'),
    async remove(name, force, by) {
      const client = clientNamed(keeper, name);
      if (!force) refuseInUse(client, client.generations.filter(isValid), sources);
      const view = await remove(name, by);
      await options.forget(name);
      return view;
    },
  };
}

const listedIn = (keyring: Keyring): readonly Client[] =>
  [...keyring.clients.values()].filter(({ removed }) => !removed);

function clientNamed(keeper: Keeper, name: string): Client {
  const client = keeper.keyring().clients.get(name);
  if (client !== undefined && !client.removed) return client;
  throw unknownClient(name, listedIn(keeper.keyring()));
}

function generationNamed(keeper: Keeper, id: string) {
  const found = findGeneration(keeper.keyring(), id);
  if (found !== undefined) return found;
  throw unknownGeneration(id, listedIn(keeper.keyring()));
}

/** Whoever used a key within the hour would break: that is said before it is done. */
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

/** Changes that take something away, or give back what was there: they rule at once. */
function createChange({ keeper, sources, takeCut }: KeyAdminOptions) {
  return async (commands: readonly Command[], name: string, by: Actor): Promise<ChangeView> => {
    const events = await keeper.change(commands, by, 'at-once');
    const client = keeper.keyring().clients.get(name) ?? clientNamed(keeper, name);
    const cut = revokedIn(events).reduce((sum, id) => sum + takeCut(id), 0);
    const failed = keeper.storeError();
    const notes = failed === undefined ? [] : [`it rules now, and is not saved: ${failed.message}`];
    return { client: clientView(client, sources), cut, notes };
  };
}

function rotateView(
  result: RotationResult,
  { keeper, sources, takeCut }: KeyAdminOptions,
): RotateView {
  const { generation, client } = generationNamed(keeper, idOf(result.client, result.number));
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

const revokedIn = (events: readonly KeyringEvent[]): readonly string[] =>
  events.flatMap((event) =>
    event.kind === 'revoked' && event.compromised ? [event.generation] : [],
  );

/** What a rotation's answer tells of: what is still good, or what ended with it. */
function previousOf(client: Client, made: Generation): readonly Generation[] {
  const valid = olderValid(client).filter(({ number }) => number < made.number);
  if (valid.length > 0) return valid;
  const before = client.generations.filter(({ number }) => number < made.number).at(-1);
  return before === undefined ? [] : [before];
}

function unknownClient(name: string, clients: readonly Client[]): AdminError {
  const near = nearest(
    name,
    clients.map((client) => client.name),
  );
  const hint = near === undefined ? 'sidecar clients list' : `did you mean ${near}?`;
  return new AdminError('unknown_client', `there is no client ${name}`, { hints: [hint] });
}

function unknownGeneration(id: string, clients: readonly Client[]): AdminError {
  const ids = clients.flatMap(({ name, generations }) =>
    generations.map(({ number }) => idOf(name, number)),
  );
  const near = nearest(id, ids);
  const hint = near === undefined ? 'sidecar status' : `did you mean ${near}?`;
  return new AdminError('unknown_generation', `there is no generation ${id}`, { hints: [hint] });
}
