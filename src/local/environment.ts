type Environment = Readonly<Record<string, string | undefined>>;

/** The client's key and the sidecar's own settings: LiteLLM has no business with them. */
const KEPT_FROM_LITELLM = /^(?:SIDECAR_|LITELLM_MASTER_KEY(?:_FILE)?$)/;

/** Through which the sidecar and the launcher speak. */
export interface Folders {
  readonly slots: string;
  readonly reports: string;
}

export interface LitellmPlan {
  readonly bin: string;
  readonly folders: Folders;
  /** On the loopback, of slots a and b. */
  readonly ports: readonly [number, number];
}

/**
 * What the launcher runs with: the shell's environment, then `.env`, then `litellm.env`, so that
 * provider keys reach LiteLLM as they do under compose; never what belongs to the sidecar.
 */
export function litellmEnvironment(
  shell: Environment,
  dotenv: Environment,
  litellmEnv: Environment,
  { bin, folders, ports }: LitellmPlan,
): Record<string, string | undefined> {
  const merged = { ...litellmEnv, ...dotenv, ...shell };
  const kept = Object.entries(merged).filter(([name]) => !KEPT_FROM_LITELLM.test(name));
  return {
    // Outside PRODUCTION litellm reads the .env of the project by itself, sidecar's secrets
    // included.
    LITELLM_MODE: 'PRODUCTION',
    ...Object.fromEntries(kept),
    LITELLM_BIN: bin,
    LAUNCHER_SLOTS: folders.slots,
    LAUNCHER_REPORTS: folders.reports,
    LAUNCHER_PORT_A: String(ports[0]),
    LAUNCHER_PORT_B: String(ports[1]),
  };
}

/**
 * Where `npm run local` differs from the sidecar's defaults; the operator's own word comes first.
 */
const DEFAULTS: Environment = {
  SIDECAR_HOST: '127.0.0.1',
  SIDECAR_OPS_HOST: '127.0.0.1',
  SIDECAR_STATE: './state',
  SIDECAR_LITELLM_CONFIG: './config.yaml',
  SIDECAR_AUTO_RELOAD: 'true',
  // No load balancer has to notice: Ctrl-C need not wait.
  SIDECAR_DRAIN_DELAY: '0s',
};

export interface LocalPorts {
  readonly traffic: number;
  readonly ops: number;
  /** Of LiteLLM in slots a and b. */
  readonly litellm: readonly [number, number];
}

/**
 * What the sidecar runs with. It reads `.env` (here `dotenv`) by itself, beneath its environment:
 * a default must not overrule that. `ports` are set once they are known to be free.
 */
export function sidecarEnvironment(
  shell: Environment,
  dotenv: Environment,
  folders: Folders,
  ports?: LocalPorts,
): Record<string, string | undefined> {
  const defaults = Object.entries(DEFAULTS).filter(([name]) => dotenv[name] === undefined);
  const [a, b] = ports?.litellm ?? [1, 2];
  return {
    ...Object.fromEntries(defaults),
    ...shell,
    // The LiteLLM is one of our own, whatever stands elsewhere for another way to run.
    SIDECAR_UPSTREAM: `http://127.0.0.1:${a},http://127.0.0.1:${b}`,
    SIDECAR_UPSTREAM_KEY: '',
    SIDECAR_SLOTS: folders.slots,
    SIDECAR_REPORTS: folders.reports,
    ...(ports && { SIDECAR_PORT: String(ports.traffic), SIDECAR_OPS_PORT: String(ports.ops) }),
  };
}
