import type { AppOptions, Base, Watch } from './app-base.ts';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import { createBlockLists, inBlocks } from './proxy/address.ts';
import { type Connections, createConnections } from './proxy/connections.ts';
import type { Policy } from './proxy/decide.ts';
import type { TrafficEvents } from './proxy/exchange-record.ts';
import { createFailureLimiter } from './proxy/failures.ts';
import { createGateway } from './proxy/gateway.ts';
import type { ForwardRules } from './proxy/headers.ts';
import { createReplayBudget, type UploadRules } from './proxy/upload.ts';
import { upstreamKeyFields } from './proxy/upstream-key.ts';
import { createWebSocketUpstream } from './proxy/websocket-upstream.ts';
import type { Keys } from './rotation/keys.ts';
import type { Secret } from './secret.ts';
import { createTrafficServer, type TrafficServer } from './servers/traffic.ts';
import { createRouteTable } from './upstream/routes.ts';

function policyOf(config: Config, keys: Keys): () => Policy {
  const { managementAllowFrom } = config;
  const rules = {
    now: keys.now,
    mayComeFrom: createBlockLists(),
    mayManageFrom: managementAllowFrom.length === 0 ? () => true : inBlocks(managementAllowFrom),
  };
  const rest = {
    rootPath: config.rootPath,
    classify: createRouteTable(config),
    credential: { keyHeader: config.keyHeader },
    keepProviderAuth: config.keepProviderAuth,
    bodyLimit: config.bodyLimit,
  };
  const withKeys = (): Policy => ({ ...rest, admission: { ...rules, keyring: keys.snapshot() } });
  let policy = withKeys();
  return () => {
    if (policy.admission.keyring !== keys.snapshot()) policy = withKeys();
    return policy;
  };
}

function forwardRules({ publicUrl, keyHeader, upstreams: [upstream] }: Config): ForwardRules {
  return { host: publicUrl?.host ?? upstream.host, publicUrl, keyHeader };
}

function uploadRules(config: Config, { elapsed }: Clock): UploadRules {
  const { replayBytes, bodyLimit: limit } = config;
  return { replayBytes, budget: createReplayBudget(config.replayTotalBytes), limit, elapsed };
}

/** The traffic port and all that is behind it. */
export function buildTraffic(options: AppOptions, base: Base, keys: Keys, upstreamSecret: Secret) {
  const { config, log, clock } = options;
  const [upstream] = config.upstreams;
  const { connectTimeoutMs, answerTimeoutMs, uploadIdleMs } = config;
  const { exchanges, watch, metrics } = base;
  const connections = createConnections({ origin: upstream.origin, connectTimeoutMs });
  const events: TrafficEvents = {
    ...metrics.events,
    onKeyUse(key, caller) {
      metrics.keyEvents.onKeyUse(key);
      keys.onKeyUse(key, caller.address, caller.userAgent);
    },
    onFirstAnswer: keys.onFirstAnswer,
    onExchangeEnd(record) {
      metrics.events.onExchangeEnd(record);
      log.access(record);
    },
  };
  const shared = { hold: watch.hold, exchanges, events, elapsed: clock.elapsed };
  const askUpgrade = createWebSocketUpstream({ upstream, connectTimeoutMs });
  const upstreamKey = upstreamKeyFields(upstreamSecret, config.keyHeader);
  const phase = { stopping: false, draining: false };
  const gateway = createGateway({
    policy: policyOf(config, keys),
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
  const parts = { base, server, connections, phase };
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
  readonly base: Base;
  readonly server: TrafficServer;
  readonly connections: Connections;
  readonly phase: { stopping: boolean; draining: boolean };
}

async function drain({ config, log }: AppOptions, parts: Parts): Promise<void> {
  const { server, phase } = parts;
  const { exchanges } = parts.base;
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

async function close({ base, server, connections }: Parts): Promise<void> {
  base.close();
  await server.close();
  connections.destroy();
}

export type Traffic = ReturnType<typeof buildTraffic>;
