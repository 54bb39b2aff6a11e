import type { Command, KeyringEvent } from './command.ts';
import { type Client, type Generation, idOf, type Keyring, type Staged } from './keyring.ts';
import { forgotten, isNewcomer } from './transition-client.ts';
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
import { activeOf, replacedIn, validIn } from './valid.ts';

type Commit = Extract<Command, { kind: 'commit' }>;

/** The staged generation becomes active; the one before it retires, or all are revoked. */
export const commit = (keyring: Keyring, command: Commit, now: number): Transition =>
  withClient(keyring, command.client, (client) => {
    const { name, staged } = client;
    if (staged === undefined) return nothingStaged(client);
    const next: Client = {
      ...client,
      disabled: false,
      generations: [
        ...supersededIn(client.generations, staged, now),
        generationOf(staged, command.published ? now : undefined),
      ],
      staged: undefined,
      idempotency: staged.idempotency && { ...staged.idempotency, number: staged.number },
    };
    const { source, digest } = staged;
    const declared =
      source === undefined ? keyring.declared : { ...keyring.declared, [source]: digest };
    const events = rotationEvents(client, staged);
    if (client.disabled && !isNewcomer(client))
      events.push({ kind: 'clientEnabled', client: name });
    return changed({ ...keyring, declared }, next, events);
  });

const supersededIn = (row: readonly Generation[], staged: Staged, now: number) =>
  replacedIn(
    row,
    validIn(row).map((each) => [each, superseded(each, staged, now)]),
  );

function superseded(generation: Generation, staged: Staged, now: number): Generation {
  if (staged.compromised) return ended(generation, 'revoked', now);
  // Those that retire already keep the grace that was promised for them.
  if (generation.state === 'retiring') return generation;
  const { graceMs, maxGraceMs } = staged;
  const latestEnd = now + maxGraceMs;
  const retirement = { rotatedAt: now, graceMs, latestEnd, deadline: undefined };
  return { ...generation, state: 'retiring', retirement };
}

function rotationEvents(client: Client, staged: Staged): KeyringEvent[] {
  const { name, generations } = client;
  const { origin, graceMs, compromised } = staged;
  const active = activeOf(client);
  const from = active && idOf(name, active.number);
  const to = idOf(name, staged.number);
  const revoked = compromised ? validIn(generations) : [];
  return [
    { kind: 'rotated', client: name, from, to, origin, graceMs, compromised },
    ...revoked.map(({ number }): KeyringEvent => {
      return { kind: 'revoked', client: name, generation: idOf(name, number), compromised };
    }),
  ];
}

/** A client that had no key before has none now: it goes, or is as removed as it was. */
export const unstage = (keyring: Keyring, name: string): Transition =>
  withClient(keyring, name, (client) => {
    if (client.staged === undefined) return nothingStaged(client);
    const next: Client = { ...client, staged: undefined };
    if (!isNewcomer(client)) return changed(keyring, next);
    const events: KeyringEvent[] = [{ kind: 'clientRemoved', client: name }];
    if (client.generations.length === 0) return forgotten(keyring, name, events);
    return changed(keyring, { ...next, removed: true }, events);
  });

const nothingStaged = ({ name }: Client): Refused =>
  refuse('nothing_staged', `no rotation of ${name} is under way`);

/** The newest retiring generation is active again; the one that replaced it is revoked. */
export const rollback = (keyring: Keyring, name: string, now: number): Transition =>
  withClient(keyring, name, (client) => {
    if (client.staged !== undefined) return underWay(client);
    const active = activeOf(client);
    if (client.disabled || active === undefined) return disabledFault(client, active);
    const from = idOf(name, active.number);
    const fresh = `\`sidecar rotate ${name}\` makes a new key`;
    if (active.afterCompromise) {
      const message = `the keys before ${from} were revoked as compromised`;
      return refuse('no_rollback_after_compromise', message, fresh);
    }
    const newest = client.generations.findLast(({ state }) => state === 'retiring');
    if (newest === undefined) {
      return refuse('nothing_to_roll_back', `no key before ${from} is still valid`, fresh);
    }
    const to = idOf(name, newest.number);
    const generations = client.generations.map((each): Generation => {
      if (each === active) return ended(each, 'revoked', now);
      return each === newest ? { ...each, state: 'active', retirement: undefined } : each;
    });
    return changed(keyring, { ...client, generations }, [
      { kind: 'rolledBack', client: name, from, to },
      { kind: 'revoked', client: name, generation: from, compromised: false },
    ]);
  });

const disabledFault = ({ name }: Client, active: Generation | undefined): Refused =>
  refuse(
    'client_disabled',
    `client ${name} is disabled`,
    active === undefined
      ? `\`sidecar rotate ${name}\` makes a new key and enables it`
      : `\`sidecar clients enable ${name}\` first`,
  );
