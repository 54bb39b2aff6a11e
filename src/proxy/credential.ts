import { type Refusal, refusal } from '../refusal.ts';
import type { Head } from './head.ts';

/** LiteLLM's own carriers in LiteLLM's own order (litellm/proxy/auth/user_api_key_auth.py). */
export const KEY_HEADERS = [
  'x-litellm-api-key',
  'authorization',
  'api-key',
  'x-api-key',
  'x-goog-api-key',
  'ocp-apim-subscription-key',
] as const;

/** No key of the sidecar's is read here, but the field is always taken out: LiteLLM lets it win. */
export const OVERRIDING_HEADER = 'litellm_user_api_key';
const SUBPROTOCOL_PREFIX = 'openai-insecure-api-key.';

/** What a request presents. `key` is plaintext: it is digested at once and kept nowhere. */
export interface Credential {
  /** The header's name, `?key` or `subprotocol`. */
  readonly carrier: string;
  readonly key: string;
}

export interface CredentialRules {
  /** The one header that may carry a key, in lower case; undefined: LiteLLM's own carriers. */
  readonly keyHeader: string | undefined;
}

/** Where besides the headers a key may stand in this request. */
interface OtherPlaces {
  /** The query of a route where LiteLLM reads `?key=`; undefined elsewhere. */
  readonly query: string | undefined;
  /** `Sec-WebSocket-Protocol` of an upgrade; undefined elsewhere. */
  readonly subprotocols: string | undefined;
  /** The route takes the key as the password of `Authorization: Basic` (RFC 7617) as well. */
  readonly basic: boolean;
}

const twice = (carrier: string): Refusal =>
  refusal('bad_request', `${carrier} stands twice: send one key in one place`);

/**
 * Finds the credential: the first carrier that is there wins and the others are ignored, as at
 * LiteLLM. A carrier that stands twice is refused, whether it would win or not.
 *
 * @returns undefined where no credential is presented
 */
export function readCredential(
  head: Head,
  rules: CredentialRules,
  places: OtherPlaces,
): Credential | Refusal | undefined {
  const headers = rules.keyHeader === undefined ? KEY_HEADERS : [rules.keyHeader];
  let found: Credential | undefined;
  for (const carrier of headers) {
    const at = head.names.indexOf(carrier);
    if (at < 0) continue;
    if (head.repeated.size > 0 && head.repeated.has(carrier)) return twice(carrier);
    found ??= fromHeader(carrier, head.values[at] ?? '', places.basic);
  }
  if (rules.keyHeader !== undefined) return found;
  for (const credentials of outsideHeaders(places)) {
    const [first, second] = credentials;
    if (second !== undefined) return twice(second.carrier);
    found ??= first;
  }
  return found;
}

const NOWHERE: readonly Credential[][] = [];

function outsideHeaders({ query, subprotocols }: OtherPlaces): readonly Credential[][] {
  // On nearly every route there is neither, so that no list is made.
  if (query === undefined && subprotocols === undefined) return NOWHERE;
  return [
    query === undefined ? [] : keysInQuery(query).map(asCarrier('?key')),
    subprotocols === undefined
      ? []
      : keysInSubprotocols(subprotocols).map(asCarrier('subprotocol')),
  ];
}

const asCarrier =
  (carrier: string) =>
  (key: string): Credential => ({ carrier, key });

/** `Authorization` wants its scheme (RFC 6750 §2.1); elsewhere a `Bearer ` is optional. */
function fromHeader(carrier: string, value: string, basic: boolean): Credential | undefined {
  if (value === '') return undefined;
  const credentials = basic ? /^basic +([A-Za-z0-9+/=]+)$/i.exec(value)?.[1] : undefined;
  if (credentials !== undefined) {
    const pair = Buffer.from(credentials, 'base64').toString();
    return { carrier, key: pair.slice(pair.indexOf(':') + 1) };
  }
  const bearer = /^bearer +/i.exec(value);
  if (bearer !== null) return { carrier, key: value.slice(bearer[0].length) };
  // An `Authorization` of another scheme opens nothing: the empty key is in no keyring.
  return { carrier, key: carrier === 'authorization' ? '' : value };
}

const isKeyParameter = (pair: string): boolean => {
  const [name = ''] = pair.split('=', 1);
  try {
    return decodeURIComponent(name.replaceAll('+', ' ')) === 'key';
  } catch {
    return false;
  }
};

function keysInQuery(query: string): string[] {
  return query
    .split('&')
    .filter(isKeyParameter)
    .map((pair) => {
      const value = pair.slice(pair.indexOf('=') + 1).replaceAll('+', ' ');
      try {
        return decodeURIComponent(value);
      } catch {
        return value;
      }
    });
}

/** Takes every `key` parameter out and leaves the rest of the query byte for byte. */
export function withoutKeyParameters(query: string): string {
  return query
    .split('&')
    .filter((pair) => !isKeyParameter(pair))
    .join('&');
}

const subprotocolList = (value: string): string[] => value.split(',').map((item) => item.trim());

function keysInSubprotocols(value: string): string[] {
  return subprotocolList(value)
    .filter((item) => item.startsWith(SUBPROTOCOL_PREFIX))
    .map((item) => item.slice(SUBPROTOCOL_PREFIX.length));
}

/** The subprotocols without those that carry a key; undefined: none is left. */
export function withoutKeySubprotocols(value: string): string | undefined {
  const rest = subprotocolList(value).filter((item) => !item.startsWith(SUBPROTOCOL_PREFIX));
  return rest.length === 0 ? undefined : rest.join(', ');
}
