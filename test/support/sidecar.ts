import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type App, startApp } from '../../src/app/app.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { loadConfig, openDeclaredPlaces, openUpstreamKeyPlaces } from '../../src/config/load.ts';
import { formatMistakes } from '../../src/config/sources.ts';
import { generateKey } from '../../src/keyring/key.ts';
import { madeKeyPath } from '../../src/store/key-files.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { type OnStep, onDiskSteps } from './disk-steps.ts';
import { recordArtefact, recordSettings, recordState } from './key-ledger.ts';

/** A sidecar in this process, on ports of its own, with a state folder that goes when it stops. */
export interface Sidecar {
  readonly port: number;
  readonly opsPort: number;
  /** `http://127.0.0.1:<port>`. */
  readonly url: string;
  /** What clients presented at its start. */
  readonly key: string;
  /** What LiteLLM gets, as `Bearer …`. */
  readonly upstreamKey: string;
  readonly state: string;
  /** Where its `.env` is looked for. */
  readonly cwd: string;
  /** Every log line so far, parsed. */
  readonly logLines: () => readonly LogLine[];
  /** The log as it was written, to look for what must not be there. */
  readonly logText: () => string;
  /** The access lines among them: one to a finished exchange. */
  readonly accessLines: () => readonly LogLine[];
  /** `/metrics` of the ops port; a scrape is cached for a second, so the first is the fresh one. */
  readonly metrics: () => Promise<string>;
  /** Where its traffic goes; a test hands it over as the runner of handovers would. */
  readonly upstreams: App['upstreams'];
  /** Its own drain, once: what `serve` does at the first signal. */
  readonly drain: () => Promise<void>;
  /** Drains (unless a test did) and removes the state folder. */
  readonly stop: () => Promise<void>;
}

export type LogLine = { readonly level: string; readonly msg: string } & Readonly<
  Record<string, unknown>
>;

/** Environment variables; undefined takes one of the defaults below away. */
export type Settings = Readonly<Record<string, string | undefined>>;

/** What a test puts in the place of what a process has. */
export interface Surroundings {
  readonly clock?: Clock;
  /** Told before each change of the state folder on the disk. */
  readonly onStep?: OnStep;
  /** The text of `.env` beside the sidecar, at its start. */
  readonly dotenv?: string;
  /** A test moves the traffic itself. */
  readonly handover?: 'by-hand';
}

const LOOPBACK = '127.0.0.1';

/** As `npm run build` made it; no thread is started before there is something to write. */
const USAGE_PROGRAM = new URL('../../dist/parts/usage-worker.js', import.meta.url);
/** As the build made it; it is read where a test asks for it. */
const CONSOLE = new URL('../../dist/console/', import.meta.url);

/**
 * Starts a sidecar as `sidecar serve` composes it, but for the process around it.
 *
 * @param upstream the port of the upstream on the loopback, or a URL
 * @param settings more of the environment. Defaults: ports 0, no drain delay, 200 ms of drain, no hold,
 *   no usage.db, a fresh declared key and another one for LiteLLM
 */
export async function startSidecar(
  upstream: number | string,
  settings: Settings = {},
  { clock = systemClock, onStep, dotenv, handover }: Surroundings = {},
): Promise<Sidecar> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-'));
  const lines: string[] = [];
  const declared = generateKey();
  const upstreamKey = settings['SIDECAR_UPSTREAM_KEY'] ?? generateKey();
  const env: Settings = {
    SIDECAR_UPSTREAM: typeof upstream === 'number' ? `http://${LOOPBACK}:${upstream}` : upstream,
    SIDECAR_UPSTREAM_KEY: upstreamKey,
    LITELLM_MASTER_KEY: declared,
    SIDECAR_STATE: join(folder, 'state'),
    SIDECAR_HOST: LOOPBACK,
    SIDECAR_PORT: '0',
    SIDECAR_OPS_HOST: LOOPBACK,
    SIDECAR_OPS_PORT: '0',
    SIDECAR_HOLD: '0',
    SIDECAR_DRAIN_DELAY: '0',
    SIDECAR_DRAIN: '200ms',
    SIDECAR_USAGE_KEEP: '0',
    ...settings,
  };
  if (dotenv !== undefined) await writeFile(join(folder, '.env'), dotenv);
  recordSettings(env);
  const loaded = loadConfig({ env, cwd: folder });
  if (!loaded.ok) throw new Error(formatMistakes(loaded.mistakes));
  const { config } = loaded;
  const state = config.state ?? join(folder, 'no state');
  if (onStep !== undefined) onDiskSteps(state, onStep);
  const log = createLog({
    level: config.logLevel,
    destination: { write: (text) => lines.push(text) },
    clock,
    sampling: { share: config.logSample, slowMs: config.logSlowMs },
  });
  const app = await startApp({
    config,
    settings: { ...loaded, load: () => loadConfig({ env, cwd: folder }) },
    log,
    clock,
    version: '0.0.0-test',
    nodeVersion: process.versions.node,
    places: openDeclaredPlaces({ env, cwd: folder }),
    upstreamKeyPlaces: openUpstreamKeyPlaces({ env, cwd: folder }),
    usageProgram: USAGE_PROGRAM,
    console: CONSOLE,
    ...(handover !== undefined && { handover }),
  });
  let drained: Promise<void> | undefined;
  const drain = (): Promise<void> => {
    drained ??= app.drain();
    return drained;
  };
  const logText = (): string => lines.join('');
  const metrics = async (): Promise<string> => {
    const response = await fetch(`http://${LOOPBACK}:${app.opsPort}/metrics`);
    const text = await response.text();
    recordArtefact('metrics', '/metrics', text);
    return text;
  };
  const logLines = (): LogLine[] =>
    logText()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LogLine);
  return {
    port: app.port,
    opsPort: app.opsPort,
    url: `http://${LOOPBACK}:${app.port}`,
    key: env['LITELLM_MASTER_KEY'] ?? (await madeKey(config.state)),
    upstreamKey,
    state,
    cwd: folder,
    logLines,
    logText,
    accessLines: () => logLines().filter(({ msg }) => msg === 'request'),
    metrics,
    upstreams: app.upstreams,
    drain,
    async stop() {
      // One that a test has drained has no metrics any more.
      await metrics().catch(() => undefined);
      await drain();
      recordArtefact('log', 'the log', logText());
      await recordState(state);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** '' where nothing is kept: nobody is master. */
const madeKey = async (state: string | undefined): Promise<string> =>
  state === undefined ? '' : (await readFile(madeKeyPath(state), 'utf8')).trim();
