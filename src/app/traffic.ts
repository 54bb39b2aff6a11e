import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchedClock } from '../clock.ts';
import { GATEWAY } from '../config/kinds.ts';
import type { Config } from '../config/settings.ts';
import { isoOrNull } from '../config/units.ts';
import type { UpstreamView } from '../handover/views.ts';
import { canConnect, createProbe } from '../litellm/probe.ts';
import { createRouteTable } from '../litellm/routes.ts';
import type { SlotName } from '../litellm/slots.ts';
import {
  createBlockLists,
  createUnbelievedNote,
  defaultGateway,
  inBlocks,
} from '../proxy/address.ts';
import { createCors } from '../proxy/cors.ts';
import type { Policy } from '../proxy/decide.ts';
import type { Exchanges } from '../proxy/exchanges.ts';
import { createFailureLimiter } from '../proxy/failure-limiter.ts';
import { createGateway } from '../proxy/gateway.ts';
import type { TrafficEvents } from '../proxy/record.ts';
import { createReplayBudget, type UploadRules } from '../proxy/upload.ts';
import { createUpstreams, type Upstreams } from '../proxy/upstreams.ts';
import type { Keys } from '../rotation/keys.ts';
import { createTrafficServer, type TrafficServer } from '../servers/traffic.ts';
import type { AppOptions, Base } from './base.ts';
import type { ClientLimitsHere } from './limits.ts';
import type { Litellm } from './litellm.ts';
import type { HourlyUsage } from './usage.ts';

/** Where traffic goes at the start. */
type UpstreamStart = Pick<Litellm, 'slot' | 'key' | 'onKeyAccepted' | 'onBack' | 'isKeyTaken'>;

/** Milliseconds: what a check of the connection may take while requests wait for it. */
const RECONNECT_TIMEOUT_MS = 1000;

/** Where the LiteLLM of each slot listens; one that somebody else runs counts as slot `a`. */
function originsIn({ upstreams: [a, b], slots }: AppOptions['config']): Map<SlotName, URL> {
  const origins = new Map<SlotName, URL>([['a', a]]);
  if (slots !== undefined && b !== undefined) origins.set('b', b);
  return origins;
}

/** The LiteLLMs that traffic may go to, each with a probe of its own. */
function buildUpstreams(
  { config, log, clock }: AppOptions,
  { exchanges, watched }: Base,
  { slot: active, key, onKeyAccepted, onBack }: UpstreamStart,
  downSince: Map<SlotName, number>,
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
    elapsed: watched.elapsed,
    canConnect: (origin) => canConnect(origin, RECONNECT_TIMEOUT_MS),
    startProbe: (slot, origin, knownUp) =>
      createProbe({
        origin,
        rootPath,
        knownUp,
        onChange(up) {
          log[up ? 'info' : 'warn']({ slot }, up ? 'LiteLLM answers' : 'LiteLLM is away');
          if (up) downSince.delete(slot);
          else downSince.set(slot, clock.now());
          if (up) onBack();
        },
      }),
    onKeyAccepted,
  });
}

/** @param follow told that the keyring has changed */
function policyOf(config: Config, keys: Keys, follow: () => void): () => Policy {
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
    if (policy.admission.keyring !== keys.snapshot()) {
      policy = withKeys();
      follow();
    }
    return policy;
  };
}

/** Docker's gateway has another address at each start. */
function trustedProxies(config: Config, log: AppOptions['log']): readonly string[] {
  return config.trustedProxies.flatMap((each) => {
    if (each !== GATEWAY) return [each];
    const gateway = defaultGateway(readRoutes());
    if (gateway === undefined) {
      log.warn({}, 'there is no gateway here for SIDECAR_TRUSTED_PROXIES: it trusts nobody');
    }
    return gateway === undefined ? [] : [gateway];
  });
}

function readRoutes(): string {
  try {
    return readFileSync('/proc/net/route', 'utf8');
  } catch {
    return '';
  }
}

function uploadRules(config: Config, { elapsed }: WatchedClock): UploadRules {
  const { replayBytes, bodyLimit: limit } = config;
  return { replayBytes, budget: createReplayBudget(config.replayTotalBytes), limit, elapsed };
}

function trafficEvents(
  { metrics, live }: Base,
  keys: Keys,
  log: AppOptions['log'],
  usage: HourlyUsage,
): TrafficEvents {
  return {
    ...metrics.events,
    onKeyUse(key, caller) {
      metrics.keyEvents.onKeyUse(key);
      keys.onKeyUse(key, caller.address, caller.userAgent);
    },
    onFirstAnswer: keys.onFirstAnswer,
    onExchangeEnd(record) {
      metrics.events.onExchangeEnd(record);
      usage.add(record);
      live.add(record);
      log.access(record);
    },
  };
}

interface TrafficParts {
  readonly keys: Keys;
  readonly usage: HourlyUsage;
  readonly limits: ClientLimitsHere;
  readonly start: UpstreamStart;
}

/** The traffic port and all that is behind it. */
export type Traffic = ReturnType<typeof buildTraffic>;

export function buildTraffic(options: AppOptions, base: Base, parts: TrafficParts) {
  const { keys, usage, limits, start } = parts;
  const { config, log, clock } = options;
  const { answerTimeoutMs, uploadIdleMs, publicUrl, keyHeader } = config;
  const { exchanges, watched } = base;
  /** Stopping: `/readyz` says no, and requests are served on. Draining: new ones are refused. */
  const phase = { isStopping: false, isDraining: false };
  /** Milliseconds since the epoch. */
  const downSince = new Map<SlotName, number>();
  const upstreams = buildUpstreams(options, base, start, downSince);
  const events = trafficEvents(base, keys, log, usage);
  const gateway = createGateway({
    ...{ policy: policyOf(config, keys, limits.follow), limits: limits.limits },
    rules: { publicUrl, keyHeader },
    exchange: {
      ...{ upstreams, exchanges, events, elapsed: clock.elapsed, watched },
      ...{ answerTimeoutMs, uploadIdleMs, cors: createCors(config.corsOrigins) },
    },
    failures: createFailureLimiter(config.failuresPerMinute, clock.elapsed),
    isTrustedProxy: inBlocks(trustedProxies(config, log)),
    noteUnbelieved: createUnbelievedNote((peer) => log.warn({ peer }, UNBELIEVED)),
    upload: uploadRules(config, watched),
    beginsTraces: config.beginTraces,
    isReady: () => !phase.isStopping && upstreams.active.isUp() && start.isKeyTaken() !== false,
    isDraining: () => phase.isDraining,
  });
  const server = createTrafficServer({
    ...{ gateway, elapsed: clock.elapsed, watched },
    ...{ headersTimeoutMs: config.headersTimeoutMs, keepAliveMs: config.keepAliveMs },
  });
  const close = async (): Promise<void> => {
    upstreams.close();
    exchanges.close();
    await server.close();
  };
  return {
    server,
    /** What a handover moves, and what the metrics and `/readyz` look at. */
    upstreams,
    /** The view of LiteLLM with what the probes of traffic know of it. */
    withDownSince: (view: UpstreamView): UpstreamView => ({
      ...view,
      slots: view.slots.map((slot) => ({
        ...slot,
        downSince: slot.up ? null : isoOrNull(downSince.get(slot.name)),
      })),
    }),
    /** What `/readyz` answers. */
    readiness: () => readiness(upstreams, phase.isStopping, start.isKeyTaken() !== false),
    /** Serves on for `drainDelayMs`, takes nothing new, finishes within `drainMs`, and closes. */
    async drain(): Promise<void> {
      await finish(options, { exchanges, server, upstreams, phase });
      await close();
    },
    /** Ends what is under way so that no client takes the part it has for the whole. */
    cut: () => void exchanges.cut(() => true),
    /** Ends everything at once. */
    close,
  };
}

function readiness({ active }: Upstreams, isStopping: boolean, isKeyTaken: boolean) {
  const waitingFor = [
    ...(isKeyTaken ? [] : ["LiteLLM refuses the sidecar's key"]),
    ...(active.probe.answeredOnce() ? [] : ['LiteLLM has not answered yet']),
    ...(isStopping ? ['stopping'] : []),
  ];
  return { ready: waitingFor.length === 0, waitingFor };
}

const UNBELIEVED =
  'X-Forwarded-For is not believed, as its sender is not in SIDECAR_TRUSTED_PROXIES (said once)';

interface DrainedParts {
  readonly exchanges: Exchanges;
  readonly server: TrafficServer;
  readonly upstreams: Upstreams;
  readonly phase: { isStopping: boolean; isDraining: boolean };
}

/** Tells load balancers, refuses new requests a while later, and lets those under way end. */
async function finish(
  { config, log }: AppOptions,
  { exchanges, server, upstreams, phase }: DrainedParts,
): Promise<void> {
  phase.isStopping = true;
  server.ending.begin();
  log.info(
    { ms: config.drainDelayMs },
    'stopping: serving on until load balancers see that it is not ready',
  );
  await sleep(config.drainDelayMs);
  phase.isDraining = true;
  // What waits for a LiteLLM that is away would keep the drain up for as long as it may wait.
  for (const { hold } of upstreams.all()) hold.letGo();
  await server.ending.stopListening();
  log.info(
    { left: exchanges.count('all') },
    'stopping: new requests are refused, those under way are finished',
  );
  const cut = await server.ending.whileIdle(exchanges.drain(config.drainMs));
  if (cut > 0) log.warn({ cut }, 'SIDECAR_DRAIN is over: some exchanges were cut');
}
