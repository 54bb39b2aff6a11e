import { z } from 'zod';
import type { Secret } from '../secret.ts';
import {
  blocks,
  declaredSecret,
  flag,
  headerSecret,
  host,
  integer,
  keyHeader,
  oneOf,
  type PublishTarget,
  path,
  pathPatterns,
  port,
  publicUrl,
  publishTargets,
  rootPath,
  tokenSecret,
  upstreams,
} from './kinds.ts';
import { duration, type Kind, optional, size, span } from './units.ts';

/**
 * What the sidecar runs with; `config/settings.ts` has the variable of each field. Durations are
 * milliseconds to 2^31 - 1, sizes are bytes. 0 means "no limit" where a field says nothing else.
 */
export interface Config {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  readonly opsHost: string;
  /** 0: a free one. */
  readonly opsPort: number;
  /** Folder of the keyring and of published keys. */
  readonly state: string;
  /** One URL, or two: slots `a` and `b`. `http:` only, no path, no credentials. */
  readonly upstreams: readonly [URL, ...URL[]];
  /** What LiteLLM runs with, where no launcher is told by `slots`. */
  readonly upstreamKey: Secret | undefined;
  /** The declared client key; undefined: one is made and kept under `state`. */
  readonly declaredKey: Secret | undefined;
  /** The folder that the launcher reads; undefined: somebody else's LiteLLM. */
  readonly slots: string | undefined;
  /** `config.yaml` or the folder that holds it. */
  readonly litellmConfig: string | undefined;
  /** The folder of LiteLLM's last words, which the launcher writes; undefined: there is none. */
  readonly reports: string | undefined;
  /** Whether a change of `litellmConfig` is tried, and switched to, by itself. */
  readonly autoReload: boolean;
  /** 0: no schedule. Where it is set, there are two places and `slots`. */
  readonly upstreamRotateEveryMs: number;
  /** How long a LiteLLM that takes over may take to come up and be verified; at least 1 s. */
  readonly handoverTimeoutMs: number;
  /** How long the LiteLLM before is kept after a switch, in case the new one dies; 0: not. */
  readonly probationMs: number;
  /** The operator's word that LiteLLM has a LITELLM_SALT_KEY. */
  readonly saltKeySet: boolean;

  /** How long an older key stays good after a newer one was first used; at least 1 s. */
  readonly graceMs: number;
  /** At least `graceMs`, counted from the rotation. */
  readonly maxGraceMs: number;
  /** 0: no schedule. Where it is set, `publish` is not empty. */
  readonly rotateEveryMs: number;
  /** Beside the state folder's own file of each client. */
  readonly publish: readonly PublishTarget[];
  /** Opens the admin API on the ops port; undefined: it is on its socket alone. */
  readonly adminToken: Secret | undefined;

  /** LiteLLM's SERVER_ROOT_PATH: '' or '/llm', without a slash at its end. */
  readonly rootPath: string;
  /** `http:` or `https:`, no query, no credentials; a path is what stands before `rootPath`. */
  readonly publicUrl: URL | undefined;
  /** Lower case; undefined: LiteLLM's own carriers. */
  readonly keyHeader: string | undefined;
  readonly keepProviderAuth: boolean;
  /** Decoded paths without the root path, `/*` at the end covers what lies below, too. */
  readonly inferencePaths: readonly string[];
  readonly denyPaths: readonly string[];
  readonly allowPaths: readonly string[];
  /** CIDR blocks; empty: from anywhere. */
  readonly managementAllowFrom: readonly string[];
  /** CIDR blocks; empty: nobody is trusted. */
  readonly trustedProxies: readonly string[];
  /** Failed authentications a minute and address; 0: no limit. */
  readonly failuresPerMinute: number;

  readonly bodyLimit: number;
  /** 0: no body is kept for a second try. */
  readonly replayBytes: number;
  /** At least `replayBytes`; 0: no body is kept for a second try. */
  readonly replayTotalBytes: number;

  /** 0: nobody waits. */
  readonly holdMs: number;
  /** 0: nobody waits. */
  readonly holdMax: number;
  readonly headersTimeoutMs: number;
  readonly uploadIdleMs: number;
  readonly connectTimeoutMs: number;
  readonly answerTimeoutMs: number;
  /** 0: no delay. */
  readonly drainDelayMs: number;
  /** 0: what is in flight is cut at once. */
  readonly drainMs: number;

  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  readonly logFormat: 'auto' | 'json' | 'pretty';
}

/** The headings under which the settings stand in the documents, in their order. */
export const SECTIONS = [
  'Keys',
  'Rotation',
  'LiteLLM',
  'Places',
  'Routes',
  'Requests',
  'Ending',
  'Log',
] as const;

/** One row of the table: all that the parser and the documents know of a setting. */
export interface Setting<T> {
  /** Of the environment variable. */
  readonly name: string;
  readonly section: (typeof SECTIONS)[number];
  readonly kind: Kind<T>;
  /** As it would be written; '' is "not set". */
  readonly default: string;
  readonly required?: true;
  /** Which of two places counts: the environment, unless `.env` is what an operator edits. */
  readonly dotenvFirst?: true;
  /** What it does, in one line for people. */
  readonly text: string;
}

/** Each field of the configuration, once. */
export type Settings = { readonly [F in keyof Config]: Setting<Config[F]> };

/** A row whose value is for somebody else to know. */
export type AnySetting = Setting<unknown>;

/** The variable that names a file with the secret in it; undefined: the setting is no secret. */
export const fileNameOf = (setting: AnySetting): string | undefined =>
  setting.kind.secret === true ? `${setting.name}_FILE` : undefined;

/** Of the table of settings: the limits of a request, and the end of all of them. */
export const REQUEST_SETTINGS = {
  bodyLimit: {
    name: 'SIDECAR_BODY_LIMIT',
    section: 'Requests',
    kind: size,
    default: '0',
    text: 'the largest request body; 0: no limit',
  },
  replayBytes: {
    name: 'SIDECAR_REPLAY_BYTES',
    section: 'Requests',
    kind: size,
    default: '1MiB',
    text: 'the largest request body that is kept for a second try; 0: none is kept',
  },
  replayTotalBytes: {
    name: 'SIDECAR_REPLAY_TOTAL',
    section: 'Requests',
    kind: size,
    default: '64MiB',
    text: 'how much is kept for second tries in all; 0: nothing is kept',
  },
  holdMs: {
    name: 'SIDECAR_HOLD',
    section: 'Requests',
    kind: duration,
    default: '30s',
    text: 'how long a request waits for a LiteLLM that is away; 0: it does not wait',
  },
  holdMax: {
    name: 'SIDECAR_HOLD_MAX',
    section: 'Requests',
    kind: integer(0, 1_000_000),
    default: '1000',
    text: 'how many requests may wait; 0: none',
  },
  headersTimeoutMs: {
    name: 'SIDECAR_HEADERS_TIMEOUT',
    section: 'Requests',
    kind: duration,
    default: '30s',
    text: 'how long a client may take to send its headers; 0: no limit',
  },
  uploadIdleMs: {
    name: 'SIDECAR_UPLOAD_IDLE',
    section: 'Requests',
    kind: duration,
    default: '60s',
    text: 'how long a client may pause while it sends a body; 0: no limit',
  },
  connectTimeoutMs: {
    name: 'SIDECAR_CONNECT_TIMEOUT',
    section: 'Requests',
    kind: duration,
    default: '5s',
    text: 'how long a connection to LiteLLM may take; 0: no limit',
  },
  answerTimeoutMs: {
    name: 'SIDECAR_ANSWER_TIMEOUT',
    section: 'Requests',
    kind: duration,
    default: '0',
    text: 'how long LiteLLM may take to begin an answer; 0: no limit',
  },

  drainDelayMs: {
    name: 'SIDECAR_DRAIN_DELAY',
    section: 'Ending',
    kind: duration,
    default: '5s',
    text: 'told to stop: how long new requests are still served, so that load balancers notice',
  },
  drainMs: {
    name: 'SIDECAR_DRAIN',
    section: 'Ending',
    kind: duration,
    default: '600s',
    text: 'then: how long what is in flight may take to finish; 0: it is cut at once',
  },
} satisfies Partial<Settings>;

const SECOND = 1000;
const NO_GRACE =
  'without a grace each rotation refuses every client at once: `sidecar rotate --grace 0` does ' +
  'that where it is meant';

/** Of the table of settings: how keys come and go. */
export const ROTATION_SETTINGS = {
  graceMs: {
    name: 'SIDECAR_GRACE',
    section: 'Rotation',
    kind: span({ least: SECOND, zero: NO_GRACE }),
    default: '24h',
    text: 'how long the key before stays good after a newer one was first used',
  },
  maxGraceMs: {
    name: 'SIDECAR_MAX_GRACE',
    section: 'Rotation',
    kind: span({ least: SECOND, zero: NO_GRACE }),
    default: '30d',
    text: 'how long it stays good at the most, where the newer one is never used',
  },
  rotateEveryMs: {
    name: 'SIDECAR_ROTATE_EVERY',
    section: 'Rotation',
    kind: span({ least: SECOND }),
    default: '0',
    text: 'how often keys are rotated by themselves; it needs SIDECAR_PUBLISH; 0: never',
  },
  publish: {
    name: 'SIDECAR_PUBLISH',
    section: 'Rotation',
    kind: publishTargets,
    default: '',
    text: 'where new keys are written: file:/run/key,dotenv:/app/.env#API_KEY,ci=file:/run/ci',
  },
} satisfies Partial<Settings>;

const SECOND2 = 1000;

/** The word `set`. Who writes the salt key itself here must not find it in a log. */
const wordSet: Kind<boolean> = {
  schema: z
    .string()
    .regex(/^(?:set)?$/i)
    .transform((text) => text !== ''),
  allowed: 'set: the word alone, and not the salt key itself',
  hidden: true,
  show: (isSet) => (isSet ? 'set' : ''),
};

/** Of the table of settings: where LiteLLM runs, and how one takes over from another. */
export const UPSTREAM_SETTINGS = {
  upstreams: {
    name: 'SIDECAR_UPSTREAM',
    section: 'LiteLLM',
    kind: upstreams,
    default: '',
    required: true,
    text: 'where LiteLLM runs, or the two places (slots) where it may run',
  },
  slots: {
    name: 'SIDECAR_SLOTS',
    section: 'LiteLLM',
    kind: optional(path),
    default: '',
    text: "the folder that LiteLLM's launcher reads; not set: LiteLLM is started by somebody else",
  },
  reports: {
    name: 'SIDECAR_REPORTS',
    section: 'LiteLLM',
    kind: optional(path),
    default: '',
    text: "the folder where the launcher leaves LiteLLM's last words; not set: nobody hears them",
  },
  litellmConfig: {
    name: 'SIDECAR_LITELLM_CONFIG',
    section: 'LiteLLM',
    kind: optional(path),
    default: '',
    text: "LiteLLM's config.yaml, or the folder that holds it; copied into the slot",
  },
  autoReload: {
    name: 'SIDECAR_AUTO_RELOAD',
    section: 'LiteLLM',
    kind: flag,
    default: 'false',
    text: 'an edit of SIDECAR_LITELLM_CONFIG is tried, and switched to, by itself',
  },
  upstreamRotateEveryMs: {
    name: 'SIDECAR_UPSTREAM_ROTATE_EVERY',
    section: 'LiteLLM',
    kind: span({ least: SECOND2 }),
    default: '0',
    text: "how often LiteLLM's own key is rotated by itself; it needs both slots; 0: never",
  },
  handoverTimeoutMs: {
    name: 'SIDECAR_HANDOVER_TIMEOUT',
    section: 'LiteLLM',
    kind: span({ least: SECOND2, zero: 'no LiteLLM comes up in no time' }),
    default: '5m',
    text: 'how long a LiteLLM that takes over may take to come up and list its models',
  },
  probationMs: {
    name: 'SIDECAR_PROBATION',
    section: 'LiteLLM',
    kind: duration,
    default: '90s',
    text: 'after a switch: how long the LiteLLM before is kept, in case the new one dies',
  },
  saltKeySet: {
    name: 'SIDECAR_LITELLM_SALT_KEY',
    section: 'LiteLLM',
    kind: wordSet,
    default: '',
    text: 'set: LiteLLM has a LITELLM_SALT_KEY, so that its database outlives a new master key',
  },
  rootPath: {
    name: 'SIDECAR_ROOT_PATH',
    section: 'LiteLLM',
    kind: rootPath,
    default: '',
    text: 'the SERVER_ROOT_PATH that LiteLLM runs with',
  },
} satisfies Partial<Settings>;

/** The table: it makes the parser, `sidecar config`, `.env.example`, and the one in the docs. */
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
