import type { Command } from './command.ts';
import type { Keyring } from './keyring.ts';
import { addClient, disable, enable, remove } from './transition-client.ts';
import { firstUse, published, revoke } from './transition-generation.ts';
import { type Transition, unchanged } from './transition-outcome.ts';
import { commit, rollback, unstage } from './transition-rotate.ts';
import { stage } from './transition-stage.ts';
import { letPass } from './transition-time.ts';

export type { Transition } from './transition-outcome.ts';

/**
 * Carries out one command, after what was due before it. Pure; never throws. Where nothing changes
 * the keyring that comes back is the same object, and there are no events.
 *
 * @param now milliseconds since the epoch; an earlier one than `changedAt` counts as that
 */
export function transition(keyring: Keyring, command: Command, now: number): Transition {
  const at = now > keyring.changedAt ? now : keyring.changedAt;
  const before = letPass(keyring, at);
  const done = carryOut(before.keyring, command, at);
  if (!done.ok) return done;
  // A key without a grace ends with the command that made it wait for nothing more.
  const after = letPass(done.keyring, at);
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
      return rollback(keyring, command.client, now);
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
