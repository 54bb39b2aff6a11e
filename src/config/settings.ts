import { optional } from './kind.ts';
import { blocks, host, keyHeader } from './network-kinds.ts';
import { pathPatterns } from './path-kinds.ts';
import {
  declaredSecret,
  flag,
  headerSecret,
  integer,
  oneOf,
  path,
  port,
  tokenSecret,
} from './plain-kinds.ts';
import { REQUEST_SETTINGS } from './request-settings.ts';
import { ROTATION_SETTINGS } from './rotation-settings.ts';
import type { AnySetting, Setting, Settings } from './setting.ts';
import { UPSTREAM_SETTINGS } from './upstream-settings.ts';
import { publicUrl } from './url-kinds.ts';

/** The table: it makes the parser, `sidecar config`, `.env.example` and the README's table. */
export const SETTINGS: Settings = {
  declaredKey: {
    name: 'LITELLM_MASTER_KEY',
    section: 'Keys',
    kind: optional(declaredSecret),
    default: '',
    dotenvFirst: true,
    text: 'what clients present; not set: a key is made and kept in the state folder',
  },
  upstreamKey: {
    name: 'SIDECAR_UPSTREAM_KEY',
    section: 'Keys',
    kind: optional(headerSecret),
    default: '',
    text: 'what LiteLLM itself runs with, where SIDECAR_SLOTS is not set',
  },
  keyHeader: {
    name: 'SIDECAR_KEY_HEADER',
    section: 'Keys',
    kind: optional(keyHeader),
    default: '',
    text: "the one header that carries the key; not set: LiteLLM's own carriers",
  },
  keepProviderAuth: {
    name: 'SIDECAR_KEEP_PROVIDER_AUTH',
    section: 'Keys',
    kind: flag,
    default: 'false',
    text: 'with a key in x-litellm-api-key, Authorization is passed on, for the provider',
  },
  failuresPerMinute: {
    name: 'SIDECAR_FAILURES_PER_MINUTE',
    section: 'Keys',
    kind: integer(0, 1_000_000),
    default: '20',
    text: 'wrong keys that one address may try each minute; 0: no limit',
  },

  ...ROTATION_SETTINGS,

  ...UPSTREAM_SETTINGS,

  host: {
    name: 'SIDECAR_HOST',
    section: 'Places',
    kind: host,
    default: '0.0.0.0',
    text: 'the address that clients reach',
  },
  port: {
    name: 'SIDECAR_PORT',
    section: 'Places',
    kind: port,
    default: '4000',
    text: 'the port that clients reach',
  },
  opsHost: {
    name: 'SIDECAR_OPS_HOST',
    section: 'Places',
    kind: host,
    default: '127.0.0.1',
    text: 'the address of /livez, /readyz and /metrics',
  },
  opsPort: {
    name: 'SIDECAR_OPS_PORT',
    section: 'Places',
    kind: port,
    default: '4001',
    text: 'the port of /livez, /readyz and /metrics',
  },
  adminToken: {
    name: 'SIDECAR_ADMIN_TOKEN',
    section: 'Places',
    kind: optional(tokenSecret),
    default: '',
    text: 'opens the admin API on the ops port to who presents it; not set: its socket alone',
  },
  publicUrl: {
    name: 'SIDECAR_PUBLIC_URL',
    section: 'Places',
    kind: optional(publicUrl),
    default: '',
    text: 'how clients call this gateway, for redirects and forwarded headers',
  },
  trustedProxies: {
    name: 'SIDECAR_TRUSTED_PROXIES',
    section: 'Places',
    kind: blocks,
    default: '',
    text: 'proxies whose X-Forwarded-* headers are believed; not set: nobody',
  },
  state: {
    name: 'SIDECAR_STATE',
    section: 'Places',
    kind: path,
    default: './state',
    text: 'the folder of the keyring and of keys that were made',
  },

  managementAllowFrom: {
    name: 'SIDECAR_MANAGEMENT_ALLOW_FROM',
    section: 'Routes',
    kind: blocks,
    default: '',
    text: "addresses that may reach LiteLLM's management routes; not set: all",
  },
  inferencePaths: {
    name: 'SIDECAR_INFERENCE_PATHS',
    section: 'Routes',
    kind: pathPatterns,
    default: '',
    text: 'more paths that a key for inference may use',
  },
  denyPaths: {
    name: 'SIDECAR_DENY_PATHS',
    section: 'Routes',
    kind: pathPatterns,
    default: '',
    text: 'more paths that nobody may use',
  },
  allowPaths: {
    name: 'SIDECAR_ALLOW_PATHS',
    section: 'Routes',
    kind: pathPatterns,
    default: '',
    text: 'paths that are closed by default and shall be management routes',
  },

  ...REQUEST_SETTINGS,

  logLevel: {
    name: 'SIDECAR_LOG_LEVEL',
    section: 'Log',
    kind: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    default: 'info',
    text: 'the least severe level that is logged',
  },
  logFormat: {
    name: 'SIDECAR_LOG_FORMAT',
    section: 'Log',
    kind: oneOf(['auto', 'json', 'pretty']),
    default: 'auto',
    text: 'json lines, or pretty for people; auto: pretty on a terminal',
  },
};

/** No field of the configuration: it says where the rest of it is. */
export const ENV_FILE: Setting<string> = {
  name: 'SIDECAR_ENV_FILE',
  section: 'Places',
  kind: path,
  default: '.env',
  text: 'the file with settings, which need not be there; known in the environment only',
};

/** Every row, in the order of the documents. */
export const EVERY_SETTING: readonly AnySetting[] = [...Object.values(SETTINGS), ENV_FILE];
