import type { Secret } from './secret.ts';

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

/** Where a client's newest key is written, and kept up to date. */
export interface PublishTarget {
  readonly client: string;
  readonly kind: 'file' | 'dotenv';
  /** Absolute. */
  readonly path: string;
  /** The variable of a dotenv file; '' for a file that holds the key alone. */
  readonly variable: string;
}
