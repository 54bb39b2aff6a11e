import type { KeyringEvent } from './command.ts';
import { type Client, endOf, type Generation, idOf, type Keyring } from './keyring.ts';
import { type Done, ended } from './transition-outcome.ts';
import { activeOf, replacedIn, validIn } from './valid.ts';

/** Retires what is past its end, or waits for nothing but a newer key that is published now. */
export function letPass(keyring: Keyring, now: number): Done {
  const events: KeyringEvent[] = [];
  const next: Client[] = [];
  for (const client of keyring.clients.values()) {
    const due = (generation: Generation): boolean => isDue(client, generation, now);
    const over = validIn(client.generations).filter(due);
    if (over.length === 0) continue;
    const { name } = client;
    const pairs = over.map((generation) => {
      events.push({ kind: 'retired', client: name, generation: idOf(name, generation.number) });
      // However late this is noticed, it was good for nothing after its end.
      const end = Math.min(endOf(generation) ?? now, now);
      return [generation, ended(generation, 'retired', end)] as const;
    });
    next.push({ ...client, generations: replacedIn(client.generations, pairs) });
  }
  if (next.length === 0) return { ok: true, keyring, events };
  const clients = new Map(keyring.clients);
  for (const client of next) clients.set(client.name, client);
  return { ok: true, keyring: { ...keyring, clients }, events };
}

function isDue(client: Client, generation: Generation, now: number): boolean {
  if (generation.state !== 'retiring') return false;
  if ((endOf(generation) ?? Infinity) <= now) return true;
  return generation.retirement?.graceMs === 0 && activeOf(client)?.publishedAt !== undefined;
}
