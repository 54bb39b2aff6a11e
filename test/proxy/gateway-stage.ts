import { afterEach } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { KnownKey } from '../../src/keyring/snapshot.ts';
import { inBlocks } from '../../src/proxy/address.ts';
import { createConnections } from '../../src/proxy/connections.ts';
import type { Policy } from '../../src/proxy/decide.ts';
import type {
  CallerRecord,
  ExchangeRecord,
  TrafficEvents,
} from '../../src/proxy/exchange-record.ts';
import { createExchanges } from '../../src/proxy/exchanges.ts';
import { createFailureLimiter } from '../../src/proxy/failures.ts';
import { createGateway } from '../../src/proxy/gateway.ts';
import { createHold } from '../../src/proxy/hold.ts';
import { createReplayBudget } from '../../src/proxy/upload.ts';
import { upstreamKeyFields } from '../../src/proxy/upstream-key.ts';
import { createWebSocketUpstream } from '../../src/proxy/websocket-upstream.ts';
import { Secret } from '../../src/secret.ts';
import { createTrafficServer } from '../../src/servers/traffic.ts';
import { canConnect } from '../../src/upstream/reach.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { policyWith } from '../support/policies.ts';

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
  };
  const events: TrafficEvents = {
    onKeyUse: (key, caller) => void told.uses.push({ key, caller }),
    onFirstAnswer: (key, caller) => void told.firstAnswers.push({ key, caller }),
    onExchangeEnd: (record) => void told.records.push(record),
    onRetry: () => undefined,
    onUpstreamError: () => undefined,
  };
  const { elapsed } = systemClock;
  const exchanges = createExchanges({ elapsed });
  const hold = createHold({
    holdMs: 20_000,
    most: 100,
    elapsed,
    canConnect: () => canConnect(new URL(upstream.url), 1000),
    onChange: () => undefined,
  });
  const connections = createConnections({ origin: upstream.url, connectTimeoutMs: 1000 });
  const shared = { hold, exchanges, events, elapsed };
  const askUpgrade = createWebSocketUpstream({
    upstream: new URL(upstream.url),
    connectTimeoutMs: 1000,
  });
  const policy: { current: Policy } = { current: policyWith() };
  const upstreamKey = upstreamKeyFields(new Secret('sk-litellm'), undefined);
  const gateway = createGateway({
    policy: () => policy.current,
    upstreamKey: () => upstreamKey,
    exchange: {
      ...shared,
      connections,
      rules: { host: 'litellm', publicUrl: undefined, keyHeader: undefined },
      answerTimeoutMs: 0,
      uploadIdleMs: 0,
    },
    tunnel: { ...shared, askUpgrade },
    failures: createFailureLimiter(0),
    isTrustedProxy: inBlocks([]),
    upload: { replayBytes: 1024, budget: createReplayBudget(65_536), limit: 0, elapsed },
    isReady: () => true,
    isDraining: () => false,
  });
  const server = createTrafficServer({ gateway, headersTimeoutMs: 0 });
  const { port } = await server.listen('127.0.0.1', 0);
  ends.push(async () => {
    hold.close();
    exchanges.cut(() => true);
    exchanges.close();
    await server.close();
    connections.destroy();
  });
  return { upstream, port, policy, exchanges, hold, ...told };
}

/** Makes gateways, and takes them down after each test of the file it is called in. */
export function createGatewayStages(): () => Promise<GatewayStage> {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  return () => startGateway(ends);
}
