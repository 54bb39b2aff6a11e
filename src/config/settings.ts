import {
  blocks,
  declaredSecret,
  flag,
  headerSecret,
  host,
  hostNames,
  integer,
  keyHeader,
  oneOf,
  origins,
  path,
  pathPatterns,
  port,
  proxies,
  publicUrl,
  publishTargets,
  rootPath,
  stateOrNone,
  tokenSecret,
  upstreams,
  wordSet,
} from './kinds.ts';
import { type AnySetting, type Setting, section } from './setting.ts';
import { duration, optional, share, size, span } from './units.ts';

const SECOND = 1000;
const NO_GRACE =
  'without a grace each rotation refuses every client at once: `sidecar rotate --grace 0` does ' +
  'that where it is meant';

/**
 * Every setting, once: the table makes `Config`, the parser, `sidecar config`, `.env.example` and
 * the table of docs/settings.md, in this order.
 */
export const SETTINGS = {
  ...section('Keys', {
    declaredKey: {
      name: 'LITELLM_MASTER_KEY',
      kind: optional(declaredSecret),
      dotenvFirst: true,
      help: 'what clients present; not set: a key is made and kept in the state folder',
    },
    upstreamKey: {
      name: 'SIDECAR_UPSTREAM_KEY',
      kind: optional(headerSecret),
      help: 'what LiteLLM itself runs with, where SIDECAR_SLOTS is not set',
    },
    /** In lower case. */
    keyHeader: {
      name: 'SIDECAR_KEY_HEADER',
      kind: optional(keyHeader),
      help: "the one header that carries the key; not set: LiteLLM's own carriers",
    },
    keepProviderAuth: {
      name: 'SIDECAR_KEEP_PROVIDER_AUTH',
      kind: flag,
      default: 'false',
      help: 'with a key in x-litellm-api-key, Authorization is passed on, for the provider',
    },
    /** Of YAML: the clients that no command changes. */
    clientsFile: {
      name: 'SIDECAR_CLIENTS',
      kind: optional(path),
      help: 'a file with clients, their keys as digests, and what they may do',
    },
    failuresPerMinute: {
      name: 'SIDECAR_FAILURES_PER_MINUTE',
      kind: integer(0, 1_000_000),
      default: '20',
      help: 'wrong keys that one address may try each minute; 0: no limit',
    },
  }),
  ...section('Rotation', {
    graceMs: {
      name: 'SIDECAR_GRACE',
      kind: span({ least: SECOND, zero: NO_GRACE }),
      default: '24h',
      help: 'how long the key before stays good after a newer one was first used',
    },
    /** At least `graceMs`, and counted from the rotation. */
    maxGraceMs: {
      name: 'SIDECAR_MAX_GRACE',
      kind: span({ least: SECOND, zero: NO_GRACE }),
      default: '30d',
      help: 'how long it stays good at the most, where the newer one is never used',
    },
    /** Where it is not 0, `publish` is not empty. */
    rotateEveryMs: {
      name: 'SIDECAR_ROTATE_EVERY',
      kind: span({ least: SECOND }),
      default: '0',
      help: 'how often keys are rotated by themselves; it needs SIDECAR_PUBLISH; 0: never',
    },
    /** Beside the state folder's own file of each client. */
    publish: {
      name: 'SIDECAR_PUBLISH',
      kind: publishTargets,
      help: 'where new keys are written: file:/run/key,dotenv:/app/.env#API_KEY,ci=file:/run/ci',
    },
  }),
  ...section('LiteLLM', {
    /** Slot `a`, or the slots `a` and `b`. */
    upstreams: {
      name: 'SIDECAR_UPSTREAM',
      kind: upstreams,
      required: true,
      help: 'where LiteLLM runs, or the two places (slots) where it may run',
    },
    slots: {
      name: 'SIDECAR_SLOTS',
      kind: optional(path),
      help: "the folder that LiteLLM's launcher reads; not set: somebody else starts LiteLLM",
    },
    reports: {
      name: 'SIDECAR_REPORTS',
      kind: optional(path),
      help: "the folder where the launcher leaves LiteLLM's last words; not set: nobody hears them",
    },
    litellmConfig: {
      name: 'SIDECAR_LITELLM_CONFIG',
      kind: optional(path),
      help: "LiteLLM's config.yaml, or the folder that holds it; copied into the slot",
    },
    autoReload: {
      name: 'SIDECAR_AUTO_RELOAD',
      kind: flag,
      default: 'false',
      help: 'an edit of SIDECAR_LITELLM_CONFIG is tried, and switched to, by itself',
    },
    /** Where it is not 0, there are two upstreams, and `slots`. */
    upstreamRotateEveryMs: {
      name: 'SIDECAR_UPSTREAM_ROTATE_EVERY',
      kind: span({ least: SECOND }),
      default: '0',
      help: "how often LiteLLM's own key is rotated by itself; it needs both slots; 0: never",
    },
    handoverTimeoutMs: {
      name: 'SIDECAR_HANDOVER_TIMEOUT',
      kind: span({ least: SECOND, zero: 'no LiteLLM comes up in no time' }),
      default: '5m',
      help: 'how long a LiteLLM that takes over may take to come up and list its models',
    },
    probationMs: {
      name: 'SIDECAR_PROBATION',
      kind: duration,
      default: '90s',
      help: 'after a switch: how long the LiteLLM before is kept, in case the new one dies',
    },
    /** The operator's word: the sidecar cannot see whether LiteLLM has one. */
    saltKeySet: {
      name: 'SIDECAR_LITELLM_SALT_KEY',
      kind: wordSet,
      help: 'set: LiteLLM has a LITELLM_SALT_KEY, so that its database outlives a new master key',
    },
    /** '' or '/llm', without a slash at its end. */
    rootPath: {
      name: 'SIDECAR_ROOT_PATH',
      kind: rootPath,
      help: 'the SERVER_ROOT_PATH that LiteLLM runs with',
    },
  }),
  ...section('Places', {
    host: {
      name: 'SIDECAR_HOST',
      kind: host,
      default: '0.0.0.0',
      help: 'the address that clients reach',
    },
    port: {
      name: 'SIDECAR_PORT',
      kind: port,
      default: '4000',
      help: 'the port that clients reach',
    },
    opsHost: {
      name: 'SIDECAR_OPS_HOST',
      kind: host,
      default: '127.0.0.1',
      help: 'the address of /livez, /readyz and /metrics',
    },
    opsPort: {
      name: 'SIDECAR_OPS_PORT',
      kind: port,
      default: '4001',
      help: 'the port of /livez, /readyz, /metrics and the console',
    },
    /** In lower case. */
    opsNames: {
      name: 'SIDECAR_OPS_NAMES',
      kind: hostNames,
      help: 'public names of the ops port; addresses and private names need not be set',
    },
    litellmMetrics: {
      name: 'SIDECAR_LITELLM_METRICS',
      kind: flag,
      default: 'false',
      help: "the ops port passes LiteLLM's own metrics on, at /litellm/metrics",
    },
    adminToken: {
      name: 'SIDECAR_ADMIN_TOKEN',
      kind: optional(tokenSecret),
      help: 'opens the console and the admin API on the ops port; not set: the socket alone',
    },
    /** A path in it is what stands in front of `rootPath`. */
    publicUrl: {
      name: 'SIDECAR_PUBLIC_URL',
      kind: optional(publicUrl),
      help: 'how clients call this gateway, for redirects and forwarded headers',
    },
    /** CIDR blocks, and the word `gateway`. */
    trustedProxies: {
      name: 'SIDECAR_TRUSTED_PROXIES',
      kind: proxies,
      help: "proxies whose X-Forwarded-* are believed, gateway for Docker's; not set: nobody",
    },
    /** Undefined: nothing is kept, and nothing is written anywhere. */
    state: {
      name: 'SIDECAR_STATE',
      kind: stateOrNone,
      default: './state',
      help: 'the folder of the keyring and of keys that were made; none: nothing is written',
    },
  }),
  ...section('Routes', {
    /** CIDR blocks. */
    managementAllowFrom: {
      name: 'SIDECAR_MANAGEMENT_ALLOW_FROM',
      kind: blocks,
      help: "addresses that may reach LiteLLM's management routes; not set: all",
    },
    /** As all patterns: decoded, without `rootPath`; `/*` at its end covers what lies below. */
    inferencePaths: {
      name: 'SIDECAR_INFERENCE_PATHS',
      kind: pathPatterns,
      help: 'more paths that a key for inference may use',
    },
    denyPaths: {
      name: 'SIDECAR_DENY_PATHS',
      kind: pathPatterns,
      help: 'more paths that nobody may use',
    },
    allowPaths: {
      name: 'SIDECAR_ALLOW_PATHS',
      kind: pathPatterns,
      help: 'paths that are closed by default and shall be management routes',
    },
  }),
  ...section('Requests', {
    /** As browsers write them; empty: every origin. */
    corsOrigins: {
      name: 'SIDECAR_CORS_ORIGINS',
      kind: origins,
      help: 'pages that may call from a browser, as https://chat.example.com; not set: all',
    },
    bodyLimit: {
      name: 'SIDECAR_BODY_LIMIT',
      kind: size,
      default: '0',
      help: 'the largest request body; 0: no limit',
    },
    replayBytes: {
      name: 'SIDECAR_REPLAY_BYTES',
      kind: size,
      default: '1MiB',
      help: 'the largest request body that is kept for a second try; 0: none is kept',
    },
    /** At least `replayBytes`, or 0. */
    replayTotalBytes: {
      name: 'SIDECAR_REPLAY_TOTAL',
      kind: size,
      default: '64MiB',
      help: 'how much is kept for second tries in all; 0: nothing is kept',
    },
    holdMs: {
      name: 'SIDECAR_HOLD',
      kind: duration,
      default: '30s',
      help: 'how long a request waits for a LiteLLM that is away; 0: it does not wait',
    },
    holdMax: {
      name: 'SIDECAR_HOLD_MAX',
      kind: integer(0, 1_000_000),
      default: '1000',
      help: 'how many requests may wait; 0: none',
    },
    headersTimeoutMs: {
      name: 'SIDECAR_HEADERS_TIMEOUT',
      kind: duration,
      default: '30s',
      help: 'how long a client may take to send its headers; 0: no limit',
    },
    /** Above what Go's clients (90 s) and Caddy (120 s) keep an idle connection for. */
    keepAliveMs: {
      name: 'SIDECAR_KEEP_ALIVE',
      kind: duration,
      default: '125s',
      help: 'how long an idle connection is kept: longer than proxies in front do; 0: no limit',
    },
    uploadIdleMs: {
      name: 'SIDECAR_UPLOAD_IDLE',
      kind: duration,
      default: '60s',
      help: 'how long a client may pause while it sends a body; 0: no limit',
    },
    connectTimeoutMs: {
      name: 'SIDECAR_CONNECT_TIMEOUT',
      kind: duration,
      default: '5s',
      help: 'how long a connection to LiteLLM may take; 0: no limit',
    },
    answerTimeoutMs: {
      name: 'SIDECAR_ANSWER_TIMEOUT',
      kind: duration,
      default: '0',
      help: 'how long LiteLLM may take to begin an answer; 0: no limit',
    },
  }),
  ...section('Usage', {
    /** 0: nothing is counted by hour. */
    usageKeepMs: {
      name: 'SIDECAR_USAGE_KEEP',
      kind: span({ least: 3600 * SECOND }),
      default: '400d',
      help: 'how long requests, tokens and cost by hour stay in usage.db; 0: there is none',
    },
  }),
  ...section('Ending', {
    drainDelayMs: {
      name: 'SIDECAR_DRAIN_DELAY',
      kind: duration,
      default: '5s',
      help: 'told to stop: how long new requests are still served, so that load balancers notice',
    },
    drainMs: {
      name: 'SIDECAR_DRAIN',
      kind: duration,
      default: '600s',
      help: 'then: how long what is in flight may take to finish; 0: it is cut at once',
    },
  }),
  ...section('Log', {
    logLevel: {
      name: 'SIDECAR_LOG_LEVEL',
      kind: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
      default: 'info',
      help: 'the least severe level that is logged',
    },
    logFormat: {
      name: 'SIDECAR_LOG_FORMAT',
      kind: oneOf(['auto', 'json', 'pretty']),
      default: 'auto',
      help: 'json lines, or pretty for people; auto: pretty on a terminal',
    },
    logSample: {
      name: 'SIDECAR_LOG_SAMPLE',
      kind: share,
      default: '1',
      help: 'how many of the access lines are written; of refusals, errors and slow ones: all',
    },
    logSlowMs: {
      name: 'SIDECAR_LOG_SLOW',
      kind: duration,
      default: '30s',
      help: 'a request that waited as long for its first byte is slow; 0: none is',
    },
    beginTraces: {
      name: 'SIDECAR_BEGIN_TRACES',
      kind: flag,
      default: 'true',
      help: 'a request without a traceparent gets a new one; false: LiteLLM begins its own trace',
    },
  }),
};

/**
 * What the sidecar runs with: a value for each row. Durations are milliseconds to 2^31 - 1, sizes
 * are bytes; 0 means "no limit" where a row says nothing else.
 */
export type Config = {
  readonly [F in keyof typeof SETTINGS]: (typeof SETTINGS)[F] extends Setting<infer T> ? T : never;
};

/** Where the other settings are, so itself no field of `Config`: the environment alone has it. */
export const ENV_FILE: AnySetting = {
  name: 'SIDECAR_ENV_FILE',
  section: 'Places',
  kind: path,
  default: '.env',
  help: 'the file with settings, which need not be there; known in the environment only',
};

/** Every row, in the order of the documents. */
export const EVERY_SETTING: readonly AnySetting[] = [...Object.values(SETTINGS), ENV_FILE];
