import { configView } from '../config/view.ts';
import { NO_USE } from '../keyring/client-limits.ts';
import { digestOf } from '../keyring/key.ts';
import { createUnlistedModels } from '../keyring/model-globs.ts';
import { openOwnMetrics } from '../litellm/own-metrics.ts';
import { MOST_MODELS } from '../litellm/verify.ts';
import type { Keys } from '../rotation/keys.ts';
import { type AdminApi, createAdminApi } from '../servers/admin/api.ts';
import { createLiveStream } from '../servers/admin/live.ts';
import type { Listener } from '../servers/listener.ts';
import { createOpsServer, type OpenOwnMetrics } from '../servers/ops.ts';
import { StartupError } from '../startup-error.ts';
import { keyGauges } from '../telemetry/key-families.ts';
import { type AppOptions, type Base, buildBase } from './base.ts';
import { buildKeys, refuseWeakKey, type SeenOfClients } from './keys.ts';
import { buildLimits, type ClientLimitsHere } from './limits.ts';
import { checksOf, type Litellm, openLitellm, shutdownCheckOf } from './litellm.ts';
import { openState, type State } from './state.ts';
import { buildTraffic, type Traffic } from './traffic.ts';
import { type HourlyUsage, openUsage } from './usage.ts';

/** A sidecar that runs. */
export type App = Awaited<ReturnType<typeof buildOn>>;

/**
 * Builds the sidecar and starts it: the only place that knows every part.
 *
 * @throws StartupError where it cannot start, with what to do
 */
export async function startApp(options: AppOptions): Promise<App> {
  const begun: Ends = [];
  try {
    return await build(options, begun);
  } catch (error) {
    // Each part that was begun before the failure would keep the process alive.
    for (const end of begun.reverse()) await end();
    throw error;
  }
}

/** What ends the parts that were begun. */
type Ends = (() => void | Promise<void>)[];

/** Builds each part from those before it; `begun` gets what ends it. */
async function build(options: AppOptions, begun: Ends): Promise<App> {
  refuseWeakKey(options);
  const base = buildBase(options);
  begun.push(base.exchanges.close);
  const state = await openState(options);
  begun.push(state.close);
  try {
    return await buildOn(options, base, state, begun);
  } catch (error) {
    // Whatever else fails where the folder is lost fails because of that.
    state.checkLock();
    throw error;
  }
}

async function buildOn(options: AppOptions, base: Base, state: State, begun: Ends) {
  const { config } = options;
  const seen: SeenOfClients = { limitUse: () => NO_USE, unlisted: () => [] };
  const keys = await buildKeys(options, base, state, seen);
  begun.push(keys.close);
  const litellm = await openLitellm({
    ...options,
    ...{ metrics: base.metrics, keys, state },
    checks: checksOf(config, (models) => noteModels(base, seen, models)),
    shutdown: shutdownCheckOf(config),
    missedMs: base.watched.missedMs,
  });
  begun.push(litellm.close);
  const usage = openUsage(options, keys, state);
  begun.push(usage.close);
  const limits = buildLimits(options, base, { keys, usage });
  seen.limitUse = limits.limits.useOf;
  const traffic = buildTraffic(options, base, { keys, usage, limits, start: litellm });
  begun.push(traffic.close);
  const api = buildApi(options, base, state, { keys, litellm, usage, traffic });
  const ops = buildOps(options, base, { keys, litellm, usage, limits, traffic, api });
  begun.push(ops.close);

  state.checkLock();
  if (options.handover !== 'by-hand') litellm.start(traffic.upstreams);
  state.serveAdmin(api);
  usage.start();
  await limits.open();
  const [{ port: opsPort }, { port }] = await listenOnBoth(
    listenOrExplain(ops, config.opsHost, config.opsPort, 'OPS_'),
    listenOrExplain(traffic.server, config.host, config.port, ''),
  );

  /**
   * Stops as a server behind a load balancer should: not ready at once, serving on for
   * `drainDelayMs`, then finishing what is under way within `drainMs`. Resolves when nothing is
   * left.
   */
  const drain = async (): Promise<void> => {
    // The next process goes on with a handover; the requests under way are finished by this one.
    await litellm.close();
    await traffic.drain();
    api.stop();
    // The folder is let go when nothing is written to it any more.
    await state.drainAdmin();
    await usage.close();
    await keys.close();
    await state.close();
    await ops.close();
  };
  // The upstreams are for tests that hand the traffic over themselves.
  return { port, opsPort, upstreams: traffic.upstreams, drain, cut: traffic.cut };
}

/** LiteLLM lists these models; of more than are read nobody can say what is missing. */
function noteModels({ metrics }: Base, seen: SeenOfClients, models: readonly string[]): void {
  metrics.onModels(models);
  if (models.length < MOST_MODELS) seen.unlisted = createUnlistedModels(models);
}

interface OpsParts {
  readonly keys: Keys;
  readonly litellm: Litellm;
  readonly usage: HourlyUsage;
  readonly limits: ClientLimitsHere;
  readonly traffic: Traffic;
  readonly api: AdminApi;
}

/** What operators may ask, on the socket and on the ops port. */
function buildApi(
  options: AppOptions,
  base: Base,
  state: State,
  { keys, litellm, usage, traffic }: Pick<OpsParts, 'keys' | 'litellm' | 'usage' | 'traffic'>,
): AdminApi {
  return createAdminApi({
    ...{ admin: state.verbs(keys.admin), audit: state.audit, usage },
    live: buildLive(options, base, { keys, litellm, traffic }),
    upstream: {
      ...litellm.admin,
      status: async () => traffic.withDownSince(await litellm.status()),
    },
    settings: () => configView(options.settings, options.settings.load()),
    onError: (err) => options.log.error({ err }, 'an admin request failed'),
  });
}

/** The live figures, of traffic and of what is under way. */
function buildLive(
  { clock }: AppOptions,
  { exchanges, live }: Base,
  { keys, litellm, traffic }: Pick<OpsParts, 'keys' | 'litellm' | 'traffic'>,
) {
  return createLiveStream({
    ...live,
    read() {
      const view = traffic.withDownSince(litellm.admin.status(false));
      const { mode, slots, handover, waiting, verified, config } = view;
      return {
        at: new Date(clock.now()).toISOString(),
        now: {
          inFlight: exchanges.count('all'),
          streams: exchanges.count('streams'),
          websockets: exchanges.count('websockets'),
          held: traffic.upstreams.held(),
        },
        readiness: traffic.readiness(),
        upstream: { mode, slots, handover, waiting, verified, config },
        changes: keys.keyring().audit.count,
      };
    },
  });
}

/** The ops port: health, metrics, and the admin API where a token opens it. */
function buildOps(
  { config, log, console }: AppOptions,
  { exchanges, metrics }: Base,
  { keys, litellm, usage, limits, traffic, api }: OpsParts,
) {
  const { upstreams } = traffic;
  const exposition = metrics.expose({
    gauges: {
      inFlight: () => exchanges.count('all'),
      streams: () => exchanges.count('streams'),
      websockets: () => exchanges.count('websockets'),
      held: upstreams.held,
    },
    upstreamUp: () => new Map(upstreams.all().map(({ name, isUp }) => [name, isUp()])),
    isUpstreamKeyTaken: litellm.isKeyTaken,
    keys: () => keyGauges(keys.keyring(), keys.lastUsedAt),
    publishPending: keys.publishPending,
    limits: limits.readings,
    ...usage.readings,
  });
  const tokenDigest = config.adminToken && digestOf(config.adminToken.reveal());
  return createOpsServer({
    metrics: exposition,
    ...(config.litellmMetrics && { litellmMetrics: ownMetricsOf(config, upstreams) }),
    isReady: traffic.readiness,
    names: config.opsNames,
    onError: (err) => log.error({ err }, 'an ops endpoint failed'),
    ...(tokenDigest !== undefined && { admin: { tokenDigest, api } }),
    ...(console && { console }),
  });
}

/** LiteLLM's own metrics, from where requests go, with the key that they carry. */
const ownMetricsOf =
  ({ rootPath }: AppOptions['config'], upstreams: Traffic['upstreams']): OpenOwnMetrics =>
  (accept, signal) => {
    const { origin, rules, keys } = upstreams.active;
    const keyField = keys.best.field('bearer', false);
    return openOwnMetrics({ origin, rootPath, keyField, host: rules.host, accept, signal });
  };

/** Tells of both ports at once where neither can be had: who mends one would only meet the next. */
async function listenOnBoth<T>(one: Promise<T>, other: Promise<T>): Promise<readonly [T, T]> {
  const ends = await Promise.allSettled([one, other]);
  const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as Error] : []));
  const [first, second] = failures;
  if (!(first instanceof StartupError && second instanceof StartupError)) {
    return await Promise.all([one, other]);
  }
  const message = `${first.message}; ${second.message}`;
  const hint = `${first.hint}; ${second.hint}`;
  throw new StartupError('port', message, { hint, cause: first.cause });
}

/** Listens, or says why it cannot, and which setting helps. */
async function listenOrExplain(
  server: Listener,
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
