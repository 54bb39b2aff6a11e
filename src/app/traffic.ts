import type { Clock } from '../clock.ts';
import type { Config } from '../config/settings.ts';
import { canConnect } from '../litellm/ask.ts';
import { createProbe } from '../litellm/probe.ts';
import { createRouteTable } from '../litellm/routes.ts';
import type { SlotName } from '../litellm/slots.ts';
import { createBlockLists, createFailureLimiter, inBlocks } from '../proxy/address.ts';
import type { Policy } from '../proxy/decide.ts';
import type { Exchanges } from '../proxy/exchanges.ts';
import { createGateway } from '../proxy/gateway.ts';
import type { TrafficEvents } from '../proxy/record.ts';
import { createReplayBudget, type UploadRules } from '../proxy/upload.ts';
import type { KeyRank } from '../proxy/upstream-keys.ts';
import { createUpstreams, type Upstreams } from '../proxy/upstreams.ts';
import type { Keys } from '../rotation/keys.ts';
import type { Secret } from '../secret.ts';
import { createTrafficServer, type TrafficServer } from '../servers/traffic.ts';
import type { AppOptions, Base } from './base.ts';

/** Where traffic goes at the start. */
export interface UpstreamStart {
  readonly active: SlotName;
  /** What the LiteLLM of that slot runs with. */
  readonly key: Secret;
  /** LiteLLM took one of two live keys; told as `LiveKeys` says. */
  readonly onKeyAccepted?: (rank: KeyRank) => void;
}

/** Milliseconds: what a check of the connection may take while requests wait for it. */
const RECONNECT_TIMEOUT_MS = 1000;

/** The slots of which a launcher is told, or the one LiteLLM of somebody else's, as slot `a`. */
function originsIn({ upstreams: [a, b], slots }: AppOptions['config']): Map<SlotName, URL> {
  const origins = new Map<SlotName, URL>([['a', a]]);
  if (slots !== undefined && b !== undefined) origins.set('b', b);
  return origins;
}

/** The LiteLLMs that traffic may go to, each with a probe of its own. */
export function buildUpstreams(
  { config, log, clock }: AppOptions,
  exchanges: Exchanges,
  { active, key, onKeyAccepted = () => undefined }: UpstreamStart,
): Upstreams {
  const { publicUrl, keyHeader, connectTimeoutMs, holdMs, holdMax, rootPath } = config;
  return createUpstreams({
    origins: originsIn(config),
    active,
    key,
    exchanges,
    rules: { publicUrl, keyHeader },
    connectTimeoutMs,
    holdMs,
    holdMost: holdMax,
    elapsed: clock.elapsed,
    canConnect: (origin) => canConnect(origin, RECONNECT_TIMEOUT_MS),
    startProbe: (slot, origin, knownUp) =>
      createProbe({
        origin,
        rootPath,
        knownUp,
        onChange: (up) =>
          log[up ? 'info' : 'warn']({ slot }, up ? 'LiteLLM answers' : 'LiteLLM is away'),
      }),
    onKeyAccepted,
  });
}

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

function uploadRules(config: Config, { elapsed }: Clock): UploadRules {
  const { replayBytes, bodyLimit: limit } = config;
  return { replayBytes, budget: createReplayBudget(config.replayTotalBytes), limit, elapsed };
}

function trafficEvents({ metrics }: Base, keys: Keys, log: AppOptions['log']): TrafficEvents {
  return {
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
}

/** The traffic port and all that is behind it. */
export function buildTraffic(options: AppOptions, base: Base, keys: Keys, start: UpstreamStart) {
  const { config, log, clock } = options;
  const { answerTimeoutMs, uploadIdleMs, publicUrl, keyHeader } = config;
  const { exchanges, metrics } = base;
  const upstreams = buildUpstreams(options, exchanges, start);
  base.upstreams = upstreams;
  const events = trafficEvents(base, keys, log);
  const shared = { upstreams, exchanges, events, elapsed: clock.elapsed };
  const phase = { stopping: false, draining: false };
  const gateway = createGateway({
    policy: policyOf(config, keys),
    rules: { publicUrl, keyHeader },
    exchange: { ...shared, answerTimeoutMs, uploadIdleMs },
    tunnel: shared,
    failures: createFailureLimiter(config.failuresPerMinute),
    isTrustedProxy: inBlocks(config.trustedProxies),
    upload: uploadRules(config, clock),
    isReady: () => !phase.stopping && upstreams.active.isUp(),
    isDraining: () => phase.draining,
  });
  const server = createTrafficServer({ gateway, headersTimeoutMs: config.headersTimeoutMs });
  const parts = { base, server, phase };
  return {
    server,
    metrics,
    /** The traffic as a handover sees it: `SlotTraffic` and `KeyTraffic` of `handover/ports.ts`. */
    upstreams,
    readiness: () => readiness(upstreams, phase.stopping),
    drain: () => drain(options, parts),
    close: () => close(parts),
  };
}

function readiness({ active }: Upstreams, stopping: boolean) {
  const waitingFor = [
    ...(active.probe.answeredOnce() ? [] : ['LiteLLM has not answered yet']),
    ...(stopping ? ['stopping'] : []),
  ];
  return { ready: waitingFor.length === 0, waitingFor };
}

interface Parts {
  readonly base: Base;
  readonly server: TrafficServer;
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

async function close({ base, server }: Parts): Promise<void> {
  base.close();
  await server.close();
}

export type Traffic = ReturnType<typeof buildTraffic>;
