import { activeOf, type Client, endOf, type Keyring, validIn } from '../keyring/keyring.ts';

/** What the schedule goes by. */
export interface Schedule {
  /** Milliseconds; 0: there is none. */
  readonly everyMs: number;
  /** Clients with a publish target of their own: nobody else would hear of a new key. */
  readonly clients: ReadonlySet<string>;
}

/**
 * When a client is rotated next, computed from what is stored, so that a restart neither skips nor
 * repeats one; undefined: never. Milliseconds since the epoch.
 */
export function nextRotationAt(client: Client, schedule: Schedule): number | undefined {
  if (schedule.everyMs === 0 || !schedule.clients.has(client.name)) return undefined;
  if (client.disabled || client.removed || client.staged !== undefined) return undefined;
  const active = activeOf(client);
  const at = active === undefined ? Infinity : active.createdAt + schedule.everyMs;
  // A client that ends before is not given another key.
  return at < (client.expiresAt ?? Infinity) ? at : undefined;
}

/** The clients whose rotation is due. */
export const dueClients = (keyring: Keyring, schedule: Schedule, now: number): readonly string[] =>
  [...keyring.clients.values()]
    .filter((client) => (nextRotationAt(client, schedule) ?? Infinity) <= now)
    .map(({ name }) => name);

/** The first instant at which a generation that retires is past its end; Infinity: none does. */
export function nextEnd(keyring: Keyring): number {
  let next = Infinity;
  for (const { generations } of keyring.clients.values()) {
    for (const generation of validIn(generations)) {
      next = Math.min(next, endOf(generation) ?? Infinity);
    }
  }
  return next;
}
