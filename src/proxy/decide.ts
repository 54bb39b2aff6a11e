import { digestOf } from '../keyring/key.ts';
import type { Scope } from '../keyring/keyring.ts';
import {
  findKey,
  type KeyFault,
  type KeyringSnapshot,
  type KnownKey,
} from '../keyring/snapshot.ts';
import type { Classify, Route, RouteClass } from '../litellm/routes-table.ts';
import { isRefusal, type Refusal, refusal } from '../refusal.ts';
import { isPreflight } from './cors.ts';
import {
  type Credential,
  type CredentialRules,
  readCredential,
  withoutKeyParameters,
} from './credential.ts';
import { type Head, hasBody } from './head.ts';
import { checkModels, type ModelCheck } from './model-check.ts';
import { checkFraming, readTarget, type Target } from './target.ts';

/** What decisions are made by; replaced as a whole when any of it changes. */
export interface Policy {
  readonly rootPath: string;
  readonly classify: Classify;
  readonly credential: CredentialRules;
  readonly keepProviderAuth: boolean;
  /** Bytes; 0: no limit. */
  readonly bodyLimit: number;
  readonly admission: AdmissionRules;
}

/** What is done with a request; `route` and `generation` say as much as was found out. */
export type Decision =
  | {
      readonly kind: 'forward';
      readonly route: Route;
      readonly generation: KnownKey;
      /** The bytes of the request target that LiteLLM gets. */
      readonly target: string;
      readonly keepAuthorization: boolean;
      /** What is left to check of the models of a client that may use some only. */
      readonly models: ModelCheck | undefined;
    }
  /** Answered here, whoever asks. */
  | { readonly kind: 'health' | 'preflight'; readonly route: Route }
  | {
      readonly kind: 'refuse';
      readonly route: Route;
      readonly generation: KnownKey | undefined;
      readonly refusal: Refusal;
    };

/** A request that has no readable target belongs to no route. */
export const UNROUTED: Route = {
  group: 'other',
  class: 'management',
  dialect: 'openai',
  template: '-',
  mcp: false,
  keyInQuery: false,
  keyPlace: 'bearer',
  saysUsage: 'never',
  modelPlace: 'unknown',
  modelPath: undefined,
};

/** Target, then credential, then admission. A crash in any of them is a refusal. */
export function decide(
  head: Head,
  caller: { address: string; websocket: boolean },
  policy: Policy,
): Decision {
  try {
    return decideOrThrow(head, caller, policy);
  } catch (cause) {
    const failed = refusal('sidecar_failed', 'the gateway failed to judge this request', { cause });
    return { kind: 'refuse', route: UNROUTED, generation: undefined, refusal: failed };
  }
}

function decideOrThrow(
  head: Head,
  caller: { address: string; websocket: boolean },
  policy: Policy,
): Decision {
  const refuse = (reason: Refusal, route = UNROUTED, generation?: KnownKey): Decision => ({
    kind: 'refuse',
    route,
    generation,
    refusal: reason,
  });
  const unsafe = checkFraming(head);
  if (unsafe !== undefined) return refuse(unsafe);
  if (caller.websocket && hasBody(head)) {
    return refuse(refusal('bad_request', 'a WebSocket upgrade has no body'));
  }
  const target = readTarget(head.target, policy.rootPath);
  if (isRefusal(target)) return refuse(target);
  const route = policy.classify(caller.websocket ? 'WS' : head.method, target.path);
  const kind = answeredHere(head, route);
  if (kind !== undefined) return { kind, route };

  const credential = readCredential(head, policy.credential, {
    query: route.keyInQuery ? target.rawQuery : undefined,
    subprotocols: caller.websocket ? head.subprotocols : undefined,
    basic: route.keyPlace === 'basic',
  });
  if (credential !== undefined && isRefusal(credential)) return refuse(credential, route);
  const verdict = admit({ route, address: caller.address }, credential, policy.admission);
  if ('refusal' in verdict) return refuse(verdict.refusal, route, verdict.generation);
  const { generation } = verdict;
  const models = checkUse({ head, target, route }, generation, policy.bodyLimit);
  if (models !== undefined && isRefusal(models)) return refuse(models, route, generation);
  return {
    kind: 'forward',
    route,
    generation,
    target: route.keyInQuery ? targetWithoutKey(target) : head.target,
    keepAuthorization: keepsAuthorization(head, credential, route, policy),
    models,
  };
}

/** What is asked of a request whose key is right, before anything is read of its body. */
function checkUse(
  request: { head: Head; target: Target; route: Route },
  { models }: KnownKey,
  bodyLimit: number,
): ModelCheck | Refusal | undefined {
  const announced = Number(request.head.contentLength ?? 0);
  if (bodyLimit > 0 && announced > bodyLimit) return bodyTooLarge(bodyLimit);
  return models === undefined ? undefined : checkModels(request, models);
}

function answeredHere(head: Head, route: Route): 'health' | 'preflight' | undefined {
  if (isPreflight(head)) return route.class === 'denied' ? undefined : 'preflight';
  return route.class === 'health' ? 'health' : undefined;
}

/** @param limit bytes; the body was announced as longer, or came longer in chunks */
export const bodyTooLarge = (limit: number): Refusal =>
  refusal('body_too_large', `the body is larger than this gateway takes (${limit} bytes)`);

function targetWithoutKey({ rawPath, rawQuery }: Target): string {
  if (rawQuery === undefined) return rawPath;
  const rest = withoutKeyParameters(rawQuery);
  return rest === '' ? rawPath : `${rawPath}?${rest}`;
}

/** Where the key has a header of its own, `Authorization` may be for somebody behind LiteLLM. */
function keepsAuthorization(
  head: Head,
  credential: Credential | undefined,
  route: Route,
  policy: Policy,
): boolean {
  if (!route.mcp && route.keyPlace !== 'beside' && !policy.keepProviderAuth) return false;
  // On this route LiteLLM's own key is sent as `Authorization`.
  if (route.keyPlace === 'basic') return false;
  return (
    credential !== undefined &&
    credential.carrier !== 'authorization' &&
    credential.carrier === (policy.credential.keyHeader ?? 'x-litellm-api-key') &&
    !holdsOurKey(head.values[head.names.indexOf('authorization')] ?? '', policy.admission.keyring)
  );
}

/** Some clients send their key in both places; who is behind LiteLLM shall not learn it. */
function holdsOurKey(authorization: string, keyring: KeyringSnapshot): boolean {
  const token = authorization.slice(authorization.indexOf(' ') + 1).trim();
  const pair = Buffer.from(token, 'base64').toString();
  return [authorization, token, pair.slice(pair.indexOf(':') + 1)].some(
    (key) => keyring.byDigest.get(digestOf(key)) !== undefined,
  );
}

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

interface Admitted {
  readonly generation: KnownKey;
}

/** A refusal; of a key that the keyring knows, with that key, so that it is told whose it is. */
interface Denied {
  readonly refusal: Refusal;
  readonly generation: KnownKey | undefined;
}

const SCOPE_OF: Record<Exclude<RouteClass, 'health' | 'denied'>, Scope> = {
  inference: 'inference',
  passthrough: 'passthrough',
  management: 'full',
};

const MESSAGE_OF: Record<Exclude<KeyFault, 'malformed_key'>, string> = {
  unknown_key: 'no client of this gateway holds this key',
  expired_key: 'this key was replaced and its grace is over: ask for the new one',
  revoked_key: 'this key was revoked: ask for a new one',
};

/** Whom the holder of a key has to ask where it is not the key that is refused. */
const MESSAGE_OF_CLIENT = {
  expires: 'the client of this key has expired: ask whoever runs this gateway for another end',
  disabled: 'the client of this key is disabled: ask whoever runs this gateway',
} as const;

/**
 * What coding agents and SDKs send where the key of this gateway should be. A subscription's token
 * is right where it is, and LiteLLM reads `x-litellm-api-key` before it.
 */
const BESIDE =
  'leave it there, and send a key of this gateway in x-litellm-api-key beside it ' +
  '(Claude Code: ANTHROPIC_CUSTOM_HEADERS; Codex: http_headers)';
const FOREIGN: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^sk-ant-oat/, `is the token of a Claude subscription: ${BESIDE}`],
  [/^eyJ[\w-]*\.[\w-]+\.[\w-]*$/, `is a sign-in token, as of a ChatGPT subscription: ${BESIDE}`],
  [
    /^(?:sk-ant-|sk-proj-|sk-or-|AIza|gsk_|nvapi-)/,
    'is a key of a provider: send one of this gateway',
  ],
];

/** The words of a refusal. What else stands in the carrier of a malformed key is not repeated. */
function messageOf(
  fault: KeyFault,
  known: KnownKey | undefined,
  { carrier, key }: Credential,
): string {
  if (known?.ofClient !== undefined) return MESSAGE_OF_CLIENT[known.ofClient];
  if (fault !== 'malformed_key') return MESSAGE_OF[fault];
  const foreign = FOREIGN.find(([pattern]) => pattern.test(key));
  if (foreign !== undefined) return `what ${carrier} holds ${foreign[1]}`;
  const how = carrier === 'authorization' ? ', as Bearer token' : '';
  return `what ${carrier} holds is no key of this gateway: check that it was copied whole${how}`;
}

/**
 * Decides whether a request may go on. What is not allowed by name is refused: an unknown route is
 * management, and management wants the full scope.
 */
export function admit(
  request: { route: Route; address: string },
  credential: Credential | undefined,
  rules: AdmissionRules,
): Admitted | Denied {
  const { route } = request;
  const deny = (reason: Refusal, generation?: KnownKey): Denied => ({
    refusal: reason,
    generation,
  });
  if (route.class === 'denied') {
    return deny(refusal('route_denied', 'this route is closed at this gateway'));
  }
  if (credential === undefined) {
    return deny(refusal('missing_key', 'no key: send it as `Authorization: Bearer sk-…`'));
  }
  const { generation, fault } = findKey(rules.keyring, credential.key, rules.now);
  if (fault !== undefined) {
    return deny(refusal(fault, messageOf(fault, generation, credential)), generation);
  }
  if (generation === undefined) return deny(refusal('unknown_key', MESSAGE_OF.unknown_key));
  const { allowFrom } = generation;
  if (allowFrom.length > 0 && !rules.mayComeFrom(allowFrom, request.address)) {
    return deny(
      refusal('address_denied', 'this key may not be used from this address'),
      generation,
    );
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
