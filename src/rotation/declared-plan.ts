import {
  activeOf,
  type DeclaredSource,
  type Generation,
  idOf,
  type Keyring,
  MASTER,
} from '../keyring/keyring.ts';

/** What a declared value means to the keyring. */
export type DeclaredPlan =
  /** It is the active key, or about to be, and was acted on. */
  | { readonly kind: 'nothing' }
  /** It is the active key: our own publishing came back, or it was declared somewhere else. */
  | { readonly kind: 'remember' }
  /** It was acted on before, and newer keys have come since: at a start that is no rotation. */
  | { readonly kind: 'stale'; readonly generation: string; readonly state: Generation['state'] }
  /** A new value: a rotation, or a refusal where the keyring knows it as an older one. */
  | { readonly kind: 'rotate' };

/** Decides what a declared value, known by its digest, does to the client `master`. */
export function planDeclared(
  keyring: Keyring,
  source: DeclaredSource,
  digest: string,
): DeclaredPlan {
  const master = keyring.clients.get(MASTER);
  const remembered = keyring.declared[source] === digest;
  const active = master && activeOf(master);
  // Our own publishing may come back before the rotation is complete.
  if (master?.staged?.digest === digest) return { kind: 'nothing' };
  if (active?.digest === digest) return { kind: remembered ? 'nothing' : 'remember' };
  const older = master?.generations.find((generation) => generation.digest === digest);
  if (remembered && older !== undefined) {
    return { kind: 'stale', generation: idOf(MASTER, older.number), state: older.state };
  }
  return { kind: 'rotate' };
}
