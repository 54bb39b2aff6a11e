import type { Config } from '../config/settings.ts';
import { digestOf } from '../keyring/key.ts';
import type { FirstKey } from '../rotation/declared.ts';
import type { AdminApi } from '../servers/admin/api.ts';
import { createOpsServer } from '../servers/ops.ts';
import { StartupError } from '../startup-error.ts';
import { checkDeclared, madeKeyPath } from '../store/key-files.ts';
import type { Log } from '../telemetry/log.ts';
import { type AppOptions, buildBase } from './base.ts';
import { type KeyService, openKeyService } from './keys.ts';
import { type LitellmService, openLitellmService } from './litellm.ts';
import { buildTraffic, type Traffic } from './traffic.ts';

/** Says which key clients present, and how to read one that was made; never the key. */
export function sayKey(config: Config, from: FirstKey, log: Log): void {
  if (from === 'declared') {
    log.info({}, 'clients present the declared LITELLM_MASTER_KEY');
    return;
  }
  const file = madeKeyPath(config.state);
  const made = from === 'made' ? 'a key was made for clients' : 'clients present the key';
  log.info({ file }, `${made}: read it with \`sidecar key show\``);
}

/** Listens, or says why it cannot, and which setting helps. */
export async function listenOrExplain(
  server: { listen(host: string, port: number): Promise<{ readonly port: number }> },
  host: string,
  port: number,
  prefix: string,
): Promise<{ readonly port: number }> {
  try {
    return await server.listen(host, port);
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    const why = { EADDRINUSE: 'it is in use', EACCES: 'it is not allowed' }[code] ?? code;
    throw new StartupError('port', `cannot listen on ${host}:${port}: ${why}`, {
      hint: `set SIDECAR_${prefix}PORT or SIDECAR_${prefix}HOST, or stop what listens there`,
      cause,
    });
  }
}

export type { AppOptions } from './base.ts';

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
    parts.litellm = await openLitellmService(options, base, parts.service);
    const { litellm } = parts;
    const { slot: active, onKeyAccepted } = litellm;
    const start = { active, key: litellm.keys.first, onKeyAccepted };
    parts.traffic = buildTraffic(options, base, keys, start);
    const { traffic } = parts;
    if (options.handover !== 'by-hand') litellm.start(traffic.upstreams);
    return await listenOnBoth(
      options,
      { ...parts, litellm, traffic } as Parts,
      serve(litellm.admin),
    );
  } catch (error) {
    // Whatever was begun would keep the process alive.
    await parts.litellm?.close();
    await parts.traffic?.close();
    base.close();
    await parts.service?.close();
    throw error;
  }
}

/** What a sidecar is made of, in the order in which it is made. */
interface Parts {
  service: KeyService;
  litellm: LitellmService;
  traffic: Traffic;
}

async function listenOnBoth(
  { config, log }: AppOptions,
  { service, litellm, traffic }: Parts,
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
      await litellm.close();
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
