type Environment = Readonly<Record<string, string | undefined>>;

/** The client's key and the sidecar's own settings: LiteLLM has no business with them. */
const KEPT_FROM_LITELLM = /^(?:SIDECAR_|LITELLM_MASTER_KEY(?:_FILE)?$)/;

export interface LitellmPlan {
  readonly bin: string;
  readonly slots: string;
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
  { bin, slots, ports }: LitellmPlan,
): Record<string, string | undefined> {
  const merged = { ...litellmEnv, ...dotenv, ...shell };
  const kept = Object.entries(merged).filter(([name]) => !KEPT_FROM_LITELLM.test(name));
  return {
    // Outside PRODUCTION litellm reads the .env of the project by itself, sidecar's secrets included.
    LITELLM_MODE: 'PRODUCTION',
    ...Object.fromEntries(kept),
    LITELLM_BIN: bin,
    LAUNCHER_SLOTS: slots,
    LAUNCHER_PORT_A: String(ports[0]),
    LAUNCHER_PORT_B: String(ports[1]),
  };
}

export interface SidecarPlan {
  readonly slots: string;
  readonly upstreamPorts: readonly [number, number];
  readonly port: number;
  readonly opsPort: number;
}

/** Where `npm run local` differs from the sidecar's defaults; the operator's own word comes first. */
const DEFAULTS: Environment = {
  SIDECAR_HOST: '127.0.0.1',
  SIDECAR_OPS_HOST: '127.0.0.1',
  SIDECAR_STATE: './state',
  SIDECAR_LITELLM_CONFIG: './config.yaml',
  // No load balancer has to notice: Ctrl-C need not wait.
  SIDECAR_DRAIN_DELAY: '0s',
};

/** Settings that are not the operator's here: the LiteLLM is one of its own. */
export const OWN_SETTINGS = ['SIDECAR_UPSTREAM', 'SIDECAR_UPSTREAM_KEY', 'SIDECAR_SLOTS'] as const;

/** What the sidecar runs with; `dotenv` is what it will read by itself, and may not be overruled. */
export function sidecarEnvironment(
  shell: Environment,
  dotenv: Environment,
  plan: SidecarPlan,
): Record<string, string | undefined> {
  const [a, b] = plan.upstreamPorts;
  const defaults = Object.entries(DEFAULTS).filter(([name]) => dotenv[name] === undefined);
  return {
    ...Object.fromEntries(defaults),
    ...shell,
    SIDECAR_UPSTREAM: `http://127.0.0.1:${a},http://127.0.0.1:${b}`,
    SIDECAR_SLOTS: plan.slots,
    SIDECAR_PORT: String(plan.port),
    SIDECAR_OPS_PORT: String(plan.opsPort),
  };
}
