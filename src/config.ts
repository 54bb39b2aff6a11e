import type { Secret } from './secret.ts';

/** What the sidecar runs with. Durations are milliseconds, sizes are bytes; 0 means "no limit". */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly opsHost: string;
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

  /** LiteLLM's SERVER_ROOT_PATH: '' or '/llm', without a slash at its end. */
  readonly rootPath: string;
  readonly publicUrl: URL | undefined;
  /** Lower case; undefined: LiteLLM's own carriers. */
  readonly keyHeader: string | undefined;
  readonly keepProviderAuth: boolean;
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
  readonly replayBytes: number;
  readonly replayTotalBytes: number;

  readonly holdMs: number;
  readonly holdMax: number;
  readonly headersTimeoutMs: number;
  readonly uploadIdleMs: number;
  readonly connectTimeoutMs: number;
  readonly answerTimeoutMs: number;
  readonly drainDelayMs: number;
  readonly drainMs: number;

  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  readonly logFormat: 'auto' | 'json' | 'pretty';
}
