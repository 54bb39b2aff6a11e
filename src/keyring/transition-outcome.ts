import { nearest } from '../text/nearest.ts';
import { readId } from './client-name.ts';
import type { KeyringErrorCode, KeyringEvent, KeyringFault } from './command.ts';
import { type Client, type Generation, idOf, isValid, type Keyring } from './keyring.ts';

export interface Done {
  readonly ok: true;
  /** The same object where nothing changed. */
  readonly keyring: Keyring;
  readonly events: readonly KeyringEvent[];
}

export interface Refused {
  readonly ok: false;
  readonly fault: KeyringFault;
}

export type Transition = Done | Refused;

/** Ids that a hint names at most. */
const MOST_NAMED = 4;

export const unchanged = (keyring: Keyring): Done => ({ ok: true, keyring, events: [] });

/** A keyring with this client in the place of the one of its name. */
export const changed = (
  keyring: Keyring,
  client: Client,
  events: readonly KeyringEvent[] = [],
): Done => ({
  ok: true,
  keyring: { ...keyring, clients: new Map(keyring.clients).set(client.name, client) },
  events,
});

export const refuse = (
  code: KeyringErrorCode,
  message: string,
  ...hints: readonly string[]
): Refused => ({ ok: false, fault: { code, message, hints } });

/** Goes on with a client that is there and was not removed. */
export function withClient(
  keyring: Keyring,
  name: string,
  next: (client: Client) => Transition,
): Transition {
  const client = keyring.clients.get(name);
  return client === undefined || client.removed ? unknownClient(keyring, name) : next(client);
}

/** What was asked for is not repeated: it may be a key in the wrong place. */
export function unknownClient(keyring: Keyring, name: string): Refused {
  const near = nearest(name, namesOf(keyring));
  const hint = near === undefined ? '`sidecar clients list` shows them' : `did you mean ${near}?`;
  return refuse('unknown_client', 'there is no client of that name', hint);
}

export function unknownGeneration(keyring: Keyring, id: string): Refused {
  const asked = readId(id) ?? { client: id, number: 0 };
  const near = keyring.clients.has(asked.client)
    ? asked.client
    : nearest(asked.client, namesOf(keyring));
  const client = keyring.clients.get(near ?? '');
  const hint = client && nearGenerations(client, asked.number);
  return refuse(
    'unknown_generation',
    'there is no generation of that name',
    hint ?? 'it is a client and a number, such as master-1; `sidecar status` shows them',
  );
}

export const underWay = ({ name }: Client): Refused =>
  refuse(
    'rotation_under_way',
    `a rotation of ${name} is under way`,
    'try again once it has ended; one that was cut off ends when the sidecar starts',
  );

const namesOf = ({ clients }: Keyring): string[] =>
  [...clients.values()].filter(({ removed }) => !removed).map(({ name }) => name);

function nearGenerations({ name, generations }: Client, number: number): string | undefined {
  if (generations.some((each) => each.number === number)) {
    return `did you mean ${idOf(name, number)}?`;
  }
  const valid = generations.filter(isValid).slice(-MOST_NAMED);
  const ids = valid.map((each) => idOf(name, each.number)).join(', ');
  return ids === '' ? undefined : `keys of ${name} that are valid: ${ids}`;
}

/** It opens nothing from here on, and stays as a tombstone. */
export const ended = (
  generation: Generation,
  state: 'retired' | 'revoked',
  endedAt: number,
): Generation => ({ ...generation, state, endedAt });
