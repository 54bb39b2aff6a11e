import type { Client } from './keyring.ts';

type Clients = ReadonlyMap<string, Client>;

interface Known {
  clients: Clients;
  /** All digests in them. */
  readonly digests: Set<string>;
}

/** Of the keyring that was asked about last: the next one is hardly different. */
let known: Known | undefined;

/** Whether no digest stands twice in all rows and rotations under way. */
export function areDigestsUnique(clients: Clients): boolean {
  if (known !== undefined && follow(known, clients)) return true;
  // It is half changed, or of another keyring.
  known = lookAtAll(clients);
  return known !== undefined;
}

function lookAtAll(clients: Clients): Known | undefined {
  // Without a name for each of them: there may be thousands, and hardly ever is there one.
  const digests = new Set<string>();
  let count = 0;
  for (const { generations, staged } of clients.values()) {
    for (const { digest } of generations) digests.add(digest);
    if (staged !== undefined) digests.add(staged.digest);
    count += generations.length + (staged === undefined ? 0 : 1);
  }
  return digests.size === count ? { clients, digests } : undefined;
}

/** Takes over what changed; false: something stands twice, or may. */
function follow(of: Known, clients: Clients): boolean {
  const ends = [...clients].flatMap(([name, client]) => {
    const before = of.clients.get(name);
    return before === client ? [] : [endsOf(before, client)];
  });
  // Those of a client that went stay: whoever comes with one of them is looked at with all others.
  for (const { old } of ends) for (const digest of old) of.digests.delete(digest);
  for (const { fresh } of ends) {
    for (const digest of fresh) {
      if (of.digests.has(digest)) return false;
      of.digests.add(digest);
    }
  }
  of.clients = clients;
  return true;
}

/** The digests of two rows from where they begin to differ. */
function endsOf(before: Client | undefined, client: Client) {
  const old = before?.generations ?? [];
  const fresh = client.generations;
  let at = 0;
  while (at < old.length && at < fresh.length && isSame(old[at], fresh[at])) at += 1;
  return {
    old: digestsFrom(old, at, before?.staged),
    fresh: digestsFrom(fresh, at, client.staged),
  };
}

type Digested = { readonly digest: string } | undefined;

/** Hardly any is another object than before, and what is in them is not in the cache. */
const isSame = (one: Digested, other: Digested): boolean =>
  one === other || one?.digest === other?.digest;

function digestsFrom(row: readonly Digested[], at: number, staged: Digested): string[] {
  return [...row.slice(at), staged].flatMap((each) => each?.digest ?? []);
}
