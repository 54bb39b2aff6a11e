import type { Scope } from '../keyring/keyring.ts';
import {
  findKey,
  type KeyFault,
  type KeyringSnapshot,
  type KnownKey,
} from '../keyring/snapshot.ts';
import type { Route, RouteClass } from '../litellm/routes-table.ts';
import { type Refusal, refusal } from '../refusal.ts';
import type { Credential } from './credential.ts';
import { type Head, hasBody } from './head.ts';

/** Who may do what; replaced as a whole when the keyring changes. */
export interface AdmissionRules {
  readonly keyring: KeyringSnapshot;
  /** Milliseconds since the epoch, on the keyring's clock. */
  now(): number;
  /** Whether an address is in a client's CIDR blocks, of which there is at least one. */
  mayComeFrom(blocks: readonly string[], address: string): boolean;
  /** Whether management routes may be reached from this address. */
  mayManageFrom(address: string): boolean;
}

export interface Admitted {
  /** Undefined: a CORS preflight, which carries no key. */
  readonly generation: KnownKey | undefined;
}

/** A refusal of a key that is known, or was, says whose. */
export interface Denied {
  readonly refusal: Refusal;
  readonly generation: KnownKey | undefined;
}

const SCOPE_OF: Record<Exclude<RouteClass, 'health' | 'denied'>, Scope> = {
  inference: 'inference',
  passthrough: 'passthrough',
  management: 'full',
};

const MESSAGE_OF: Record<KeyFault, string> = {
  malformed_key: 'this is no key of this gateway: check that it was copied whole, as Bearer token',
  unknown_key: 'no client of this gateway holds this key',
  expired_key: 'this key was replaced and its grace is over: ask for the new one',
  revoked_key: 'this key was revoked: ask for a new one',
};

/** A CORS preflight (Fetch standard, "CORS-preflight request"): no key, no body. */
export const isPreflight = (head: Head): boolean =>
  head.method === 'OPTIONS' &&
  head.origin !== undefined &&
  head.requestMethod !== undefined &&
  !hasBody(head);

/**
 * Decides whether a request may go on. What is not allowed by name is refused: an unknown route is
 * management, and management wants the full scope.
 */
export function admit(
  request: { route: Route; preflight: boolean; address: string },
  credential: Credential | undefined,
  rules: AdmissionRules,
): Admitted | Denied {
  const { route } = request;
  const deny = (no: Refusal, generation?: KnownKey): Denied => ({ refusal: no, generation });
  if (route.class === 'denied') {
    return deny(refusal('route_denied', 'this route is closed at this gateway'));
  }
  if (request.preflight) return { generation: undefined };
  if (credential === undefined) {
    return deny(refusal('missing_key', 'no key: send it as `Authorization: Bearer sk-…`'));
  }
  const { generation, fault } = findKey(rules.keyring, credential.key, rules.now);
  if (fault !== undefined) return deny(refusal(fault, MESSAGE_OF[fault]), generation);
  if (generation === undefined) return deny(refusal('unknown_key', MESSAGE_OF.unknown_key));
  const { allowFrom } = generation;
  if (allowFrom.length > 0 && !rules.mayComeFrom(allowFrom, request.address)) {
    return deny(refusal('address_denied', 'this key is not for this address'), generation);
  }
  if (route.class === 'health') return { generation };
  const scope = SCOPE_OF[route.class];
  if (!generation.scopes.has(scope) && !generation.scopes.has('full')) {
    return deny(refusal('scope_denied', `this key lacks the scope "${scope}"`), generation);
  }
  if (route.class === 'management' && !rules.mayManageFrom(request.address)) {
    return deny(
      refusal('address_denied', 'management routes are not open to this address'),
      generation,
    );
  }
  return { generation };
}
