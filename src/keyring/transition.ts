import {
  addClient,
  disable,
  enable,
  firstUse,
  published,
  remove,
  revoke,
  setClient,
} from './clients.ts';
import {
  type Command,
  changed,
  type Done,
  type KeyringEvent,
  type Transition,
  tombstoneOf,
  unchanged,
} from './command.ts';
import { fileClients } from './file-clients.ts';
import { activeOf, type Client, endOf, type Generation, idOf, type Keyring } from './keyring.ts';
import { commit, rollback, stage, unstage } from './rotation.ts';

/** Retires the generations that are due. */
function retireDue(keyring: Keyring, now: number): Done {
  let done = unchanged(keyring);
  for (const client of keyring.clients.values()) {
    const { name } = client;
    const over = client.generations.filter((each) => isDue(client, each, now));
    if (over.length === 0) continue;
    const generations = client.generations.filter((each) => !over.includes(each));
    // A generation was refused from its end on, however late this is noticed.
    const ended = over.map((each) =>
      tombstoneOf(name, each, 'retired', Math.min(endOf(each) ?? now, now)),
    );
    const events = over.map(({ number }): KeyringEvent => {
      return { kind: 'retired', client: name, generation: idOf(name, number) };
    });
    const all = [...done.events, ...events];
    done = changed(done.keyring, { ...client, generations }, all, ended);
  }
  return done;
}

/** Whether a generation is past its end, or without a grace and replaced everywhere. */
function isDue(client: Client, generation: Generation, now: number): boolean {
  if (generation.state !== 'retiring') return false;
  if ((endOf(generation) ?? Infinity) <= now) return true;
  return generation.retirement?.graceMs === 0 && activeOf(client)?.publishedAt !== undefined;
}

/**
 * Carries out one command, after it has retired what is due. Pure; never throws. Where nothing
 * changes, the same keyring object comes back, and there are no events.
 *
 * @param now milliseconds since the epoch; an instant before `changedAt` counts as `changedAt`
 * @param sure what has come for certain: no generation that ends later is retired
 */
export function transition(
  keyring: Keyring,
  command: Command,
  now: number,
  sure = Math.max(now, keyring.changedAt),
): Transition {
  const at = now > keyring.changedAt ? now : keyring.changedAt;
  const before = retireDue(keyring, sure);
  const done = carryOut(before.keyring, command, at);
  if (!done.ok) return done;
  // The command may have made a generation without a grace due.
  const after = retireDue(done.keyring, sure);
  if (after.keyring === keyring) return unchanged(keyring);
  return {
    ok: true,
    keyring: { ...after.keyring, changedAt: at },
    events: [...before.events, ...done.events, ...after.events],
  };
}

function carryOut(keyring: Keyring, command: Command, now: number): Transition {
  switch (command.kind) {
    case 'pass':
      return unchanged(keyring);
    case 'addClient':
      return addClient(keyring, command, now);
    case 'fileClients':
      return fileClients(keyring, command, now);
    case 'setClient':
      return setClient(keyring, command, now);
    case 'stage':
      return stage(keyring, command, now);
    case 'commit':
      return commit(keyring, command, now);
    case 'unstage':
      return unstage(keyring, command.client);
    case 'published':
      return published(keyring, command, now);
    case 'firstUse':
      return firstUse(keyring, command, now);
    case 'revoke':
      return revoke(keyring, command, now);
    case 'rollback':
      return rollback(keyring, command, now);
    case 'disable':
      return disable(keyring, command.client);
    case 'enable':
      return enable(keyring, command.client);
    case 'remove':
      return remove(keyring, command.client, now);
    case 'remember':
      return remember(keyring, command);
  }
}

function remember(
  keyring: Keyring,
  { source, digest }: Extract<Command, { kind: 'remember' }>,
): Transition {
  if (keyring.declared[source] === digest) return unchanged(keyring);
  const declared = { ...keyring.declared, [source]: digest };
  return { ok: true, keyring: { ...keyring, declared }, events: [] };
}
