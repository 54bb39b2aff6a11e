import { type AppOptions, type Base, buildBase } from './app-base.ts';
import { type KeyService, openKeyService } from './app-keys.ts';
import { buildTraffic, type Traffic } from './app-traffic.ts';
import { HandoverError, type UpstreamAdmin } from './handover/admin.ts';
import { digestOf } from './keyring/digest.ts';
import { createOpsServer } from './servers/ops.ts';
import { listenOrExplain, placeSlot, sayKey } from './startup.ts';
import { checkDeclared, readUpstreamKey } from './store/startup-keys.ts';

export type { AppOptions } from './app-base.ts';

/** A sidecar that runs. */
export interface App {
  readonly port: number;
  readonly opsPort: number;
  /** Where its traffic goes, for whoever hands it over. */
  readonly upstreams: Traffic['upstreams'];
  /**
   * Stops as a server behind a load balancer should: not ready at once, serving on for
   * `drainDelayMs`, then finishing what is under way within `drainMs`. Resolves when nothing is
   * left.
   */
  drain(): Promise<void>;
}

/**
 * Builds the sidecar and starts it: the only place that knows every part.
 *
 * @throws StartupError where it cannot start, with what to do
 */
export async function startApp(options: AppOptions): Promise<App> {
  const { config, log } = options;
  const declared = config.declaredKey === undefined ? {} : checkDeclared(config.declaredKey);
  if (declared.warning !== undefined) log.warn({}, declared.warning);
  // A slot's key is made where there is none, and so not before the state folder is ours.
  const given = config.slots === undefined ? await readUpstreamKey(config) : undefined;
  for (const warning of given?.warnings ?? []) log.warn({}, warning);
  const base = buildBase(options);
  let service: KeyService | undefined;
  let traffic: Traffic | undefined;
  try {
    service = await openKeyService({
      fault: undefined,
      ...options,
      ...base,
      upstream: unmanaged(options, base),
    });
    base.keys = service.keys;
    sayKey(config, service.keys.from, log);
    const { key } = given ?? (await readUpstreamKey(config));
    await placeSlot(config, key);
    traffic = buildTraffic(options, base, service.keys, { active: 'a', key });
    return await listenOnBoth(options, service, traffic);
  } catch (error) {
    // Whatever was begun would keep the process alive.
    await traffic?.close();
    base.close();
    await service?.close();
    throw error;
  }
}

/** Of a LiteLLM that somebody else runs: how it is, and that nothing can be done about it. */
function unmanaged({ config, clock }: AppOptions, { watch }: Base): UpstreamAdmin {
  const why = 'somebody else runs LiteLLM: nothing can be handed over';
  const refuse = (): Promise<never> => Promise.reject(new HandoverError('no_slots', why));
  const [{ origin: url }] = config.upstreams;
  const load = { requests: 0, websockets: 0, mcpSessions: 0 };
  const { saltKeySet, autoReload } = config;
  const unknown = { keyMadeAt: null, rotateEveryMs: null, nextRotationAt: null, database: null };
  return {
    status: () => ({
      now: new Date(clock.now()).toISOString(),
      mode: 'unmanaged',
      slots: [{ name: 'a', url, state: 'active', up: watch.isUp(), ...load }],
      ...{ handover: null, waiting: null, last: null, verified: watch.probe.answeredOnce() },
      ...{ ...unknown, config: 'none', autoReload, saltKeySet, keyChange: null },
      ...{ warnings: [], next: [] },
    }),
    history: () => [],
    handover() {
      throw new HandoverError('unknown_handover', 'there was no handover so far');
    },
    rotate: refuse,
    reload: refuse,
    saltKey: refuse,
  };
}

async function listenOnBoth(
  { config, log }: AppOptions,
  service: KeyService,
  traffic: Traffic,
): Promise<App> {
  const { adminToken } = config;
  const tokenDigest = adminToken && digestOf(adminToken.reveal());
  const ops = createOpsServer({
    metrics: traffic.metrics,
    isReady: traffic.readiness,
    onError: (err) => log.error({ err }, 'an ops endpoint failed'),
    ...(tokenDigest !== undefined && { admin: { tokenDigest, api: service.api } }),
  });
  try {
    const { port: opsPort } = await listenOrExplain(ops, config.opsHost, config.opsPort, 'OPS_');
    const { port } = await listenOrExplain(traffic.server, config.host, config.port, '');
    const drain = async (): Promise<void> => {
      await traffic.drain();
      await service.close();
      await ops.close();
    };
    return { port, opsPort, upstreams: traffic.upstreams, drain };
  } catch (error) {
    await ops.close();
    throw error;
  }
}
