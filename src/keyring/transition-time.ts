import type { KeyringEvent } from './command.ts';
import { activeOf, type Client, endOf, type Generation, idOf, type Keyring } from './keyring.ts';
import { type Done, ended } from './transition-outcome.ts';

/** Retires what is past its end, or waits for nothing but a newer key that is published now. */
export function letPass(keyring: Keyring, now: number): Done {
  const events: KeyringEvent[] = [];
  const next: Client[] = [];
  for (const client of keyring.clients.values()) {
    const due = (generation: Generation): boolean => isDue(client, generation, now);
    if (!client.generations.some(due)) continue;
    const generations = client.generations.map((generation) => {
      if (!due(generation)) return generation;
      const { name } = client;
      events.push({ kind: 'retired', client: name, generation: idOf(name, generation.number) });
      // However late this is noticed, it was good for nothing after its end.
      return ended(generation, 'retired', Math.min(endOf(generation) ?? now, now));
    });
    next.push({ ...client, generations });
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
