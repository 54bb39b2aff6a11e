import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import { singleKeySnapshot } from './keyring/snapshot.ts';
import { inBlocks } from './proxy/address.ts';
import { type Connections, createConnections } from './proxy/connections.ts';
import type { Policy } from './proxy/decide.ts';
import type { TrafficEvents } from './proxy/exchange-record.ts';
import { createExchanges, type Exchanges } from './proxy/exchanges.ts';
import { createFailureLimiter } from './proxy/failures.ts';
import { createGateway } from './proxy/gateway.ts';
import type { ForwardRules } from './proxy/headers.ts';
import { createHold } from './proxy/hold.ts';
import { createReplayBudget, type UploadRules } from './proxy/upload.ts';
import { upstreamKeyFields } from './proxy/upstream-key.ts';
import { createWebSocketUpstream } from './proxy/websocket-upstream.ts';
import { createOpsServer } from './servers/ops.ts';
import { createTrafficServer, type TrafficServer } from './servers/traffic.ts';
import { listenOrExplain, placeSlot, sayKey } from './startup.ts';
import { readStartupKeys, type StartupKeys } from './store/startup-keys.ts';
import type { Log } from './telemetry/log.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { createProbe } from './upstream/probe.ts';
import { canConnect } from './upstream/reach.ts';
import { createRouteTable, ROUTE_GROUPS } from './upstream/routes.ts';

export interface AppOptions {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  /** The sidecar's own version, and Node's. */
  readonly version: string;
  readonly nodeVersion: string;
}

/** A sidecar that runs. */
export interface App {
  readonly port: number;
  readonly opsPort: number;
  /**
   * Stops as a server behind a load balancer should: not ready at once, serving on for
   * `drainDelayMs`, then finishing what is under way within `drainMs`. Resolves when nothing is
   * left.
   */
  drain(): Promise<void>;
}

/** Milliseconds: what a check of the connection may take while requests wait for it. */
const RECONNECT_TIMEOUT_MS = 1000;

/**
 * Builds the sidecar and starts it: the only place that knows every part.
 *
 * @throws StartupError where it cannot start, with what to do
 */
export async function startApp(options: AppOptions): Promise<App> {
  const { config, log } = options;
  const keys = await readStartupKeys(config);
  for (const warning of keys.warnings) log.warn({}, warning);
  sayKey(config, keys, log);
  await placeSlot(config, keys);
  const traffic = buildTraffic(options, keys);
  const ops = createOpsServer({
    metrics: traffic.metrics,
    isReady: traffic.readiness,
    onError: (err) => log.error({ err }, 'an ops endpoint failed'),
  });
  const drain = async (): Promise<void> => {
    await traffic.drain();
    await ops.close();
  };
  try {
    const { port: opsPort } = await listenOrExplain(ops, config.opsHost, config.opsPort, 'OPS_');
    const { port } = await listenOrExplain(traffic.server, config.host, config.port, '');
    return { port, opsPort, drain };
  } catch (error) {
    // Whatever was begun would keep the process alive.
    await Promise.all([traffic.close(), ops.close()]);
    throw error;
  }
}

function policyOf(config: Config, keys: StartupKeys): Policy {
  const { managementAllowFrom } = config;
  return {
    rootPath: config.rootPath,
    classify: createRouteTable(config),
    credential: { keyHeader: config.keyHeader },
    keepProviderAuth: config.keepProviderAuth,
    bodyLimit: config.bodyLimit,
    admission: {
      keyring: singleKeySnapshot(keys.clientDigest),
      mayManageFrom: managementAllowFrom.length === 0 ? () => true : inBlocks(managementAllowFrom),
    },
  };
}

/** What is known of LiteLLM, and what waits for it. */
function watchUpstream({ config, log, clock }: AppOptions) {
  const [upstream] = config.upstreams;
  const probe = createProbe({
    origin: upstream,
    rootPath: config.rootPath,
    onChange: (up) => log[up ? 'info' : 'warn']({}, up ? 'LiteLLM answers' : 'LiteLLM is away'),
  });
  const hold = createHold({
    holdMs: config.holdMs,
    most: config.holdMax,
    elapsed: clock.elapsed,
    canConnect: () => canConnect(upstream, RECONNECT_TIMEOUT_MS),
    onChange: () => probe.wake(),
  });
  return { probe, hold, isUp: () => probe.up() && !hold.away() };
}

type Watch = ReturnType<typeof watchUpstream>;

function buildMetrics(options: AppOptions, exchanges: Exchanges, { hold, isUp }: Watch) {
  return createMetrics({
    gauges: {
      inFlight: () => exchanges.count('all'),
      streams: () => exchanges.count('streams'),
      websockets: () => exchanges.count('websockets'),
      held: hold.size,
    },
    upstreamUp: () => new Map([['a', isUp()]]),
    version: options.version,
    node: options.nodeVersion,
    routeGroups: ROUTE_GROUPS,
    clock: options.clock,
  });
}

function forwardRules({ publicUrl, keyHeader, upstreams: [upstream] }: Config): ForwardRules {
  return { host: publicUrl?.host ?? upstream.host, publicUrl, keyHeader };
}

function uploadRules(config: Config, { elapsed }: Clock): UploadRules {
  const { replayBytes, bodyLimit: limit } = config;
  return { replayBytes, budget: createReplayBudget(config.replayTotalBytes), limit, elapsed };
}

/** The traffic port and all that is behind it. */
function buildTraffic(options: AppOptions, keys: StartupKeys) {
  const { config, log, clock } = options;
  const [upstream] = config.upstreams;
  const { connectTimeoutMs, answerTimeoutMs, uploadIdleMs } = config;
  const exchanges = createExchanges(clock);
  const watch = watchUpstream(options);
  const metrics = buildMetrics(options, exchanges, watch);
  const connections = createConnections({ origin: upstream.origin, connectTimeoutMs });
  const events: TrafficEvents = {
    ...metrics.events,
    onExchangeEnd(record) {
      metrics.events.onExchangeEnd(record);
      log.access(record);
    },
  };
  const shared = { hold: watch.hold, exchanges, events, elapsed: clock.elapsed };
  const askUpgrade = createWebSocketUpstream({ upstream, connectTimeoutMs });
  const policy = policyOf(config, keys);
  const upstreamKey = upstreamKeyFields(keys.upstreamKey, config.keyHeader);
  const phase = { stopping: false, draining: false };
  const gateway = createGateway({
    policy: () => policy,
    upstreamKey: () => upstreamKey,
    exchange: {
      ...shared,
      connections,
      rules: forwardRules(config),
      answerTimeoutMs,
      uploadIdleMs,
    },
    tunnel: { ...shared, askUpgrade },
    failures: createFailureLimiter(config.failuresPerMinute),
    isTrustedProxy: inBlocks(config.trustedProxies),
    upload: uploadRules(config, clock),
    isReady: () => !phase.stopping && watch.isUp(),
    isDraining: () => phase.draining,
  });
  const server = createTrafficServer({ gateway, headersTimeoutMs: config.headersTimeoutMs });
  const parts = { server, exchanges, connections, watch, phase };
  return {
    server,
    metrics,
    readiness: () => readiness(watch, phase.stopping),
    drain: () => drain(options, parts),
    close: () => close(parts),
  };
}

function readiness({ probe }: Watch, stopping: boolean) {
  const waitingFor = [
    ...(probe.answeredOnce() ? [] : ['LiteLLM has not answered yet']),
    ...(stopping ? ['stopping'] : []),
  ];
  return { ready: waitingFor.length === 0, waitingFor };
}

interface Parts {
  readonly server: TrafficServer;
  readonly exchanges: Exchanges;
  readonly connections: Connections;
  readonly watch: Watch;
  readonly phase: { stopping: boolean; draining: boolean };
}

async function drain({ config, log }: AppOptions, parts: Parts): Promise<void> {
  const { server, exchanges, phase } = parts;
  phase.stopping = true;
  log.info({ ms: config.drainDelayMs }, 'not ready any more, serving on for load balancers');
  await new Promise((resolve) => {
    setTimeout(resolve, config.drainDelayMs);
  });
  phase.draining = true;
  server.stopListening();
  log.info({ left: exchanges.count('all') }, 'finishing what is under way');
  const cut = await exchanges.drain(config.drainMs);
  if (cut > 0) log.warn({ cut }, 'time is up: some exchanges were cut');
  await close(parts);
}

async function close({ server, exchanges, connections, watch }: Parts): Promise<void> {
  watch.probe.stop();
  watch.hold.close();
  exchanges.close();
  await server.close();
  connections.destroy();
}
