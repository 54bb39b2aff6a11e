import { afterEach } from 'vitest';
import { createWatchedClock, systemClock } from '../../src/clock.ts';
import type { KnownKey } from '../../src/keyring/snapshot.ts';
import { canConnect, type Probe } from '../../src/litellm/probe.ts';
import { inBlocks } from '../../src/proxy/address.ts';
import { createCors } from '../../src/proxy/cors.ts';
import type { Policy } from '../../src/proxy/decide.ts';
import { createExchanges } from '../../src/proxy/exchanges.ts';
import { createFailureLimiter } from '../../src/proxy/failure-limiter.ts';
import { createGateway } from '../../src/proxy/gateway.ts';
import { createLimits } from '../../src/proxy/limits.ts';
import type { CallerRecord, ExchangeRecord, TrafficEvents } from '../../src/proxy/record.ts';
import { createReplayBudget } from '../../src/proxy/upload.ts';
import type { KeyRank } from '../../src/proxy/upstream-keys.ts';
import { createUpstreams } from '../../src/proxy/upstreams.ts';
import { Secret } from '../../src/secret.ts';
import { createTrafficServer } from '../../src/servers/traffic.ts';
import { startFakeUpstream } from './fake-upstream.ts';
import { policyWith } from './policies.ts';

const ALWAYS_UP: Probe = {
  up: () => true,
  answeredOnce: () => true,
  wake: () => undefined,
  stop: () => undefined,
};

interface Told {
  readonly key: KnownKey;
  readonly caller: CallerRecord;
}

/** A gateway on real sockets, and all that it tells, without what the rest of a sidecar makes of it. */
export type GatewayStage = Awaited<ReturnType<typeof startGateway>>;

async function startGateway(ends: (() => unknown)[]) {
  const upstream = await startFakeUpstream();
  ends.push(upstream.stop);
  const told = {
    uses: [] as Told[],
    firstAnswers: [] as Told[],
    records: [] as ExchangeRecord[],
    accepted: [] as KeyRank[],
  };
  const events: TrafficEvents = {
    onKeyUse: (key, caller) => void told.uses.push({ key, caller }),
    onFirstAnswer: (key, caller) => void told.firstAnswers.push({ key, caller }),
    onExchangeEnd: (record) => void told.records.push(record),
    onRetry: () => undefined,
    onUpstreamError: () => undefined,
    onLimit: () => undefined,
  };
  const { elapsed } = systemClock;
  const watched = createWatchedClock(elapsed);
  const exchanges = createExchanges(watched);
  const rules = { publicUrl: undefined, keyHeader: undefined };
  const upstreams = createUpstreams({
    origins: new Map([['a', new URL(upstream.url)]]),
    active: 'a',
    key: new Secret('sk-litellm'),
    exchanges,
    rules,
    connectTimeoutMs: 1000,
    holdMs: 20_000,
    holdMost: 100,
    elapsed,
    canConnect: (origin) => canConnect(origin, 1000),
    startProbe: () => ALWAYS_UP,
    onKeyAccepted: (rank) => void told.accepted.push(rank),
  });
  const { hold } = upstreams.active;
  const policy: { current: Policy } = { current: policyWith() };
  const gateway = createGateway({
    policy: () => policy.current,
    rules,
    exchange: {
      ...{ upstreams, exchanges, events, elapsed, watched, cors: createCors([]) },
      ...{ answerTimeoutMs: 0, uploadIdleMs: 0 },
    },
    failures: createFailureLimiter(0, () => 0),
    limits: createLimits({
      ...{ now: Date.now, elapsed, onReached: events.onLimit },
      spentToday: () => ({ tokens: 0, costUsd: 0 }),
    }),
    isTrustedProxy: inBlocks([]),
    noteUnbelieved: () => undefined,
    beginsTraces: true,
    upload: { replayBytes: 1024, budget: createReplayBudget(65_536), limit: 0, elapsed },
    isReady: () => true,
    isDraining: () => false,
  });
  const server = createTrafficServer({
    gateway,
    headersTimeoutMs: 0,
    keepAliveMs: 0,
    elapsed,
    watched,
  });
  const { port } = await server.listen('127.0.0.1', 0);
  ends.push(async () => {
    exchanges.cut(() => true);
    exchanges.close();
    await server.close();
    upstreams.close();
  });
  return { upstream, upstreams, port, policy, exchanges, hold, ...told };
}

/** Makes gateways, and takes them down after each test of the file it is called in. */
export function createGatewayStages(): () => Promise<GatewayStage> {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  return () => startGateway(ends);
}
