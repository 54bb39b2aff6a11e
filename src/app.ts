import { type AppOptions, buildBase } from './app-base.ts';
import { type Handover, openHandover } from './app-handover.ts';
import { type KeyService, openKeyService } from './app-keys.ts';
import { buildTraffic, type Traffic } from './app-traffic.ts';
import { digestOf } from './keyring/key.ts';
import type { AdminApi } from './servers/admin/endpoints.ts';
import { createOpsServer } from './servers/ops.ts';
import { listenOrExplain, sayKey } from './startup.ts';
import { checkDeclared } from './store/key-files.ts';

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
  const base = buildBase(options);
  const parts: Partial<Parts> = {};
  try {
    parts.service = await openKeyService({ fault: undefined, ...options, ...base });
    const { keys, serve } = parts.service;
    base.keys = keys;
    sayKey(config, keys.from, log);
    parts.handover = await openHandover(options, base, parts.service);
    const { handover } = parts;
    const { slot: active, onKeyAccepted } = handover;
    const start = { active, key: handover.keys.first, onKeyAccepted };
    parts.traffic = buildTraffic(options, base, keys, start);
    const { traffic } = parts;
    if (options.handover !== 'by-hand') handover.start(traffic.upstreams);
    return await listenOnBoth(
      options,
      { ...parts, handover, traffic } as Parts,
      serve(handover.admin),
    );
  } catch (error) {
    // Whatever was begun would keep the process alive.
    await parts.handover?.close();
    await parts.traffic?.close();
    base.close();
    await parts.service?.close();
    throw error;
  }
}

/** What a sidecar is made of, in the order in which it is made. */
interface Parts {
  service: KeyService;
  handover: Handover;
  traffic: Traffic;
}

async function listenOnBoth(
  { config, log }: AppOptions,
  { service, handover, traffic }: Parts,
  api: AdminApi,
): Promise<App> {
  const { adminToken } = config;
  const tokenDigest = adminToken && digestOf(adminToken.reveal());
  const ops = createOpsServer({
    metrics: traffic.metrics,
    isReady: traffic.readiness,
    onError: (err) => log.error({ err }, 'an ops endpoint failed'),
    ...(tokenDigest !== undefined && { admin: { tokenDigest, api } }),
  });
  try {
    const { port: opsPort } = await listenOrExplain(ops, config.opsHost, config.opsPort, 'OPS_');
    const { port } = await listenOrExplain(traffic.server, config.host, config.port, '');
    const drain = async (): Promise<void> => {
      // The next process goes on with what is under way; what LiteLLM has in hand is finished here.
      await handover.close();
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
