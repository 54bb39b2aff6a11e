import { readId } from './client-name.ts';
import type { Command, KeyringEvent } from './command.ts';
import { type Client, type Generation, idOf, isValid, type Keyring } from './keyring.ts';
import {
  changed,
  ended,
  refuse,
  type Transition,
  unchanged,
  underWay,
  unknownClient,
  unknownGeneration,
} from './transition-outcome.ts';
import { activeOf, replacedIn, validIn } from './valid.ts';

type Numbered = Extract<Command, { kind: 'published' | 'firstUse' }>;
type Revoke = Extract<Command, { kind: 'revoke' }>;

/** Without an active generation its client is disabled. */
export function revoke(keyring: Keyring, command: Revoke, now: number): Transition {
  const { generation: id, compromised } = command;
  const asked = readId(id);
  const client = asked && keyring.clients.get(asked.client);
  if (client === undefined) return unknownGeneration(keyring, id);
  const { name, staged } = client;
  if (staged?.number === asked?.number) return underWay(client);
  const generation = client.generations.find(({ number }) => number === asked?.number);
  if (generation === undefined) return unknownGeneration(keyring, id);
  if (!isValid(generation)) {
    return refuse('already_ended', `${id} was ${generation.state} before, and opens nothing`);
  }
  const events: KeyringEvent[] = [{ kind: 'revoked', client: name, generation: id, compromised }];
  const disabled = client.disabled || generation.state === 'active';
  if (disabled !== client.disabled) events.push({ kind: 'clientDisabled', client: name });
  const next = replaced(client, [[generation, ended(generation, 'revoked', now)]]);
  return changed(keyring, { ...next, disabled }, events);
}

/** Every target has this generation; what waited for nothing else retires when time passes next. */
export const published = (keyring: Keyring, command: Numbered, now: number): Transition =>
  withNumber(keyring, command, (client, generation) => {
    if (!isValid(generation) || generation.publishedAt !== undefined) return unchanged(keyring);
    const next = replaced(client, [[generation, { ...generation, publishedAt: now }]]);
    const { name } = client;
    const id = idOf(name, generation.number);
    return changed(keyring, next, [{ kind: 'published', client: name, generation: id }]);
  });

/** Starts the clocks of all that wait for a newer key to be used. */
export const firstUse = (keyring: Keyring, command: Numbered, now: number): Transition =>
  withNumber(keyring, command, (client, used) => {
    // Where a target lacks the newest key, somebody may not be able to leave the old one.
    if (!isValid(used) || activeOf(client)?.publishedAt === undefined) return unchanged(keyring);
    const events: KeyringEvent[] = [];
    const pairs = validIn(client.generations).flatMap((generation): [Generation, Generation][] => {
      const { number, state, retirement } = generation;
      if (state !== 'retiring' || number >= used.number) return [];
      if (retirement === undefined || retirement.deadline !== undefined) return [];
      const deadline = Math.min(retirement.latestEnd, now + retirement.graceMs);
      const { name } = client;
      const [id, by] = [idOf(name, number), idOf(name, used.number)];
      events.push({ kind: 'clockStarted', client: name, generation: id, by, deadline });
      return [[generation, { ...generation, retirement: { ...retirement, deadline } }]];
    });
    return pairs.length === 0
      ? unchanged(keyring)
      : changed(keyring, replaced(client, pairs), events);
  });

/** What is told late of a client that was removed, or of a staged key, changes nothing. */
function withNumber(
  keyring: Keyring,
  { client: name, number }: Numbered,
  next: (client: Client, generation: Generation) => Transition,
): Transition {
  const client = keyring.clients.get(name);
  if (client === undefined) return unknownClient(keyring, name);
  if (client.staged?.number === number) return unchanged(keyring);
  const generation = client.generations.findLast((each) => each.number === number);
  if (generation === undefined) return unknownGeneration(keyring, idOf(name, number));
  return next(client, generation);
}

const replaced = (
  client: Client,
  pairs: readonly (readonly [Generation, Generation])[],
): Client => ({ ...client, generations: replacedIn(client.generations, pairs) });
