import { isClientName } from './client-name.ts';
import type { Command, KeyringEvent } from './command.ts';
import {
  type Client,
  type Generation,
  idOf,
  isValid,
  type Keyring,
  MASTER,
  SCOPES,
} from './keyring.ts';
import {
  changed,
  ended,
  type Refused,
  refuse,
  type Transition,
  underWay,
  withClient,
} from './transition-outcome.ts';
import { generationOf } from './transition-stage.ts';
import { activeOf } from './valid.ts';

type AddClient = Extract<Command, { kind: 'addClient' }>;

/** One of a name that was removed comes back: its tombstones stay, and its numbers go on. */
export function addClient(keyring: Keyring, command: AddClient, now: number): Transition {
  const fault = addingFault(keyring, command, now);
  if (fault !== undefined) return fault;
  const { client: name, allowFrom, expiresAt } = command;
  const client: Client = {
    name,
    scopes: SCOPES.filter((scope) => command.scopes.includes(scope)),
    allowFrom,
    createdAt: now,
    expiresAt,
    disabled: true,
    removed: false,
    generations: keyring.clients.get(name)?.generations ?? [],
    staged: undefined,
    idempotency: undefined,
  };
  return changed(keyring, client, [{ kind: 'clientAdded', client: name }]);
}

function addingFault(keyring: Keyring, command: AddClient, now: number): Refused | undefined {
  const { client, scopes, expiresAt } = command;
  if (!isClientName(client)) {
    return refuse(
      'bad_client_name',
      'a client name has 1 to 39 lower-case letters, digits and hyphens, begins with a letter ' +
        'and does not end with a hyphen',
      'such as staging or ci-2; `sk-` at its beginning is for keys',
    );
  }
  const there = keyring.clients.get(client);
  if (there !== undefined && !there.removed) {
    const hint = `\`sidecar rotate ${client}\` gives it a new key`;
    return refuse('client_exists', `there is a client ${client} already`, hint);
  }
  if (scopes.length === 0 || !scopes.every((scope) => SCOPES.includes(scope))) {
    return refuse('bad_scopes', `a client has one or more of the scopes ${SCOPES.join(', ')}`);
  }
  if (expiresAt !== undefined && !(Number.isFinite(expiresAt) && expiresAt > now)) {
    return refuse('bad_expiry', 'a client can expire only in the future', 'such as 90d from now');
  }
  if (client !== MASTER) return undefined;
  if (!scopes.includes('full')) {
    return refuse('bad_scopes', `${MASTER} has the scope full, and cannot do with less`);
  }
  return expiresAt === undefined ? undefined : refuse('bad_expiry', `${MASTER} does not expire`);
}

/** Whether no generation came since it was added, or added again: it has had no key so far. */
export const isNewcomer = ({ generations, createdAt }: Client): boolean =>
  generations.every((generation) => generation.createdAt < createdAt);

export const disable = (keyring: Keyring, name: string): Transition =>
  withClient(keyring, name, (client) => {
    if (client.disabled) return refuse('client_disabled', `client ${name} is disabled already`);
    // Its end would enable the client again, behind the back of whoever disabled it.
    if (client.staged !== undefined) return underWay(client);
    const events: KeyringEvent[] = [{ kind: 'clientDisabled', client: name }];
    return changed(keyring, { ...client, disabled: true }, events);
  });

export const enable = (keyring: Keyring, name: string): Transition =>
  withClient(keyring, name, (client) => {
    if (!client.disabled) return refuse('client_enabled', `client ${name} is enabled already`);
    if (activeOf(client) === undefined) {
      const hint = `\`sidecar rotate ${name}\` makes one and enables it`;
      return refuse('no_active_key', `client ${name} has no active key`, hint);
    }
    const events: KeyringEvent[] = [{ kind: 'clientEnabled', client: name }];
    return changed(keyring, { ...client, disabled: false }, events);
  });

export const remove = (keyring: Keyring, name: string, now: number): Transition =>
  withClient(keyring, name, (client) => {
    if (name === MASTER) {
      const hint = `\`sidecar clients disable ${MASTER}\` refuses all of its keys`;
      return refuse('master_stays', `${MASTER} cannot be removed`, hint);
    }
    const ids: number[] = [];
    const revoke = (generation: Generation): Generation => {
      if (!isValid(generation)) return generation;
      ids.push(generation.number);
      return ended(generation, 'revoked', now);
    };
    const staged = client.staged ? [generationOf(client.staged, undefined)] : [];
    const generations = [...client.generations, ...staged].map(revoke);
    const events: KeyringEvent[] = ids.map((number) => {
      return { kind: 'revoked', client: name, generation: idOf(name, number), compromised: false };
    });
    events.push({ kind: 'clientRemoved', client: name });
    if (generations.length === 0) return forgotten(keyring, name, events);
    const gone = { disabled: true, removed: true, staged: undefined, idempotency: undefined };
    return changed(keyring, { ...client, ...gone, generations }, events);
  });

/** One that never had a key leaves no trace. */
export function forgotten(
  keyring: Keyring,
  name: string,
  events: readonly KeyringEvent[],
): Transition {
  const clients = new Map(keyring.clients);
  clients.delete(name);
  return { ok: true, keyring: { ...keyring, clients }, events };
}
