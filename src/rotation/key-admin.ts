import { nearest } from '../config/nearest.ts';
import type { Command, KeyringEvent } from '../keyring/command.ts';
import { activeOf, type Client, type Generation, idOf, isValid } from '../keyring/keyring.ts';
import { type Actor, AdminError, type KeyAdmin } from './admin.ts';
import type { Keeper } from './keeper.ts';
import {
  clientView,
  findGeneration,
  generationView,
  olderValid,
  type ViewSources,
  whoView,
} from './key-views.ts';
import type { RotateRequests, RotationResult } from './rotate-request.ts';
import type { ChangeView, ClientView, RotateView, StatusView } from './views.ts';

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

  const listed = (): readonly Client[] =>
    [...keeper.keyring().clients.values()].filter(({ removed }) => !removed);
  const clients = (): readonly ClientView[] =>
    listed().map((client) => clientView(client, sources));
  const clientNamed = (name: string): Client => {
    const client = keeper.keyring().clients.get(name);
    if (client !== undefined && !client.removed) return client;
    throw unknownClient(name, listed());
  };
  const generationNamed = (id: string) => findGeneration(keeper.keyring(), id) ?? unknown(id);
  const unknown = (id: string): never => {
    throw unknownGeneration(id, listed());
  };

  const change = async (
    commands: readonly Command[],
    name: string,
    by: Actor,
  ): Promise<ChangeView> => {
    const events = await keeper.change(commands, by, 'at-once');
    const client = keeper.keyring().clients.get(name) ?? clientNamed(name);
    const cut = revokedIn(events).reduce((sum, id) => sum + options.takeCut(id), 0);
    const failed = keeper.storeError();
    const notes = failed === undefined ? [] : [`it rules now, and is not saved: ${failed.message}`];
    return { client: clientView(client, sources), cut, notes };
  };
  /** Whoever used a key within the hour would break: that is said before it is done. */
  const refuseInUse = (client: Client, generations: readonly Generation[]): void => {
    for (const generation of generations) {
      const who = whoView(client.name, generation, sources);
      const { id, recentCallers, inFlight } = who.generation;
      if (recentCallers === 0 && inFlight === 0) continue;
      throw new AdminError('in_use', `${id} was used in the last hour`, {
        hints: ['wait until nobody uses it (sidecar who), or go on with --force'],
        who,
      });
    }
  };
  const rotateView = (result: RotationResult): RotateView => {
    const client = clientNamed(result.client);
    const made = client.generations.find(({ number }) => number === result.number);
    const generation = made ?? unknown(idOf(result.client, result.number));
    return {
      client: client.name,
      generation: generationView(client.name, generation, sources),
      previous: previousOf(client, generation).map((each) =>
        generationView(client.name, each, sources),
      ),
      publish: sources.targets(client.name),
      key: result.key?.reveal() ?? null,
      replayed: result.replayed,
      cut: result.revoked.reduce((sum, id) => sum + options.takeCut(id), 0),
    };
  };

  return {
    status: () => options.status(clients()),
    clients,
    client: (name) => clientView(clientNamed(name), sources),
    who(id) {
      const { client, generation } = generationNamed(id);
      return whoView(client.name, generation, sources);
    },
    async rotate(request, by) {
      const client = clientNamed(request.client);
      const active = activeOf(client);
      const ends = (request.graceMs ?? options.graceMs) === 0 && !request.compromised;
      if (ends && !request.force && active !== undefined) refuseInUse(client, [active]);
      return rotateView(await requests.rotate(request, by));
    },
    addClient: async (request, by) => rotateView(await requests.addClient(request, by)),
    async rollback(name, by) {
      clientNamed(name);
      const view = await change([{ kind: 'rollback', client: name }], name, by);
      return { ...view, notes: [...view.notes, ...(await options.republish(name))] };
    },
    async revoke({ generation: id, force, compromised }, by) {
      const { client, generation } = generationNamed(id);
      if (isValid(generation) && !force && !compromised) refuseInUse(client, [generation]);
      return await change([{ kind: 'revoke', generation: id, compromised }], client.name, by);
    },
    async disable(name, by) {
      clientNamed(name);
      return await change([{ kind: 'disable', client: name }], name, by);
    },
    async enable(name, by) {
      clientNamed(name);
      return await change([{ kind: 'enable', client: name }], name, by);
    },
    async remove(name, force, by) {
      const client = clientNamed(name);
      if (!force) refuseInUse(client, client.generations.filter(isValid));
      const view = await change([{ kind: 'remove', client: name }], name, by);
      await options.forget(name);
      return view;
    },
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
