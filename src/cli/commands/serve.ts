import { systemClock } from '../../clock.ts';
import {
  type ConfigPlaces,
  loadConfig,
  openDeclaredPlaces,
  openUpstreamKeyPlaces,
} from '../../config/load.ts';
import type { Config } from '../../config/settings.ts';
import { formatMistakes } from '../../config/sources.ts';
import { StartupError } from '../../startup-error.ts';
import type { LogOptions } from '../../telemetry/log.ts';
import type { CommandDefinition } from '../command.ts';
import { localUrl, VERSION } from '../settings.ts';
import { CommandError, EXIT, type ExitCode } from '../terminal.ts';

/** `sidecar serve` */
export const serveCommand: CommandDefinition = (program, { terminal, end }) => {
  program
    .command('serve')
    .description('run the sidecar (what `npm start` does)')
    .action(async () => {
      await serve({ env: terminal.env, cwd: terminal.cwd });
      end(undefined);
    });
};

/**
 * Runs the sidecar until a signal: the first one drains it, the second ends it at once. An uncaught
 * error ends it too, with the drain and an exit code of 1: a proxy in an unknown state serves
 * nobody.
 *
 * @throws CommandError where it cannot start
 */
export async function serve(places: ConfigPlaces): Promise<void> {
  const loaded = loadConfig(places);
  if (!loaded.ok) {
    throw new CommandError(
      'the configuration has mistakes',
      EXIT.configuration,
      [],
      [formatMistakes(loaded.mistakes)],
    );
  }
  // Without a listener Node opens its inspector, to whoever may connect to it.
  process.on('SIGUSR1', () => undefined);
  // All of it before the start: from then on nothing may stand between a signal and the drain.
  const [{ startApp }, { createLog, loadPrettifier }, { default: closeWithGrace }] =
    await Promise.all([
      import('../../app/app.ts'),
      import('../../telemetry/log.ts'),
      import('close-with-grace'),
    ]);
  const log = createLog(await logOptions(loaded.config, loadPrettifier));
  // However the process ends, the last lines say why.
  process.on('exit', log.flush);
  for (const warning of loaded.warnings) log.warn({}, warning);
  const app = await startApp({
    config: loaded.config,
    settings: { ...loaded, load: () => loadConfig(places) },
    log,
    clock: systemClock,
    version: VERSION,
    nodeVersion: process.versions.node,
    places: openDeclaredPlaces(places),
    upstreamKeyPlaces: openUpstreamKeyPlaces(places),
    ...{ usageProgram: USAGE_PROGRAM, console: CONSOLE },
  }).catch((error: unknown) => {
    log.flush();
    throw explain(error);
  });
  // Where a second signal ends the process the kernel would close connections with a FIN.
  process.prependListener('exit', app.cut);
  const { port, opsPort } = app;
  closeWithGrace({ delay: false, logger: false }, async ({ err, signal }) => {
    if (err) log.error({ err }, 'an error nobody caught: stopping');
    else log.info({ signal }, 'stopping; a second signal ends it at once');
    await app.drain();
    log.info({}, 'stopped');
    log.flush();
  });
  const { adminToken, opsHost } = loaded.config;
  const console = adminToken && { console: `${localUrl(opsHost, opsPort)}/` };
  log.info({ port, opsPort, ...console, version: VERSION }, 'ready');
  log.flush();
}

const STDERR = 2;

/** All parts of the built sidecar stand beside each other. */
const USAGE_PROGRAM = new URL('usage-worker.js', import.meta.url);
const CONSOLE = new URL('../console/', import.meta.url);

async function logOptions(
  { logLevel, logFormat, logSample, logSlowMs }: Config,
  loadPrettifier: (colour: boolean) => Promise<(line: string) => string>,
): Promise<LogOptions> {
  const { isTTY } = process.stderr;
  const isPretty = logFormat === 'auto' ? isTTY : logFormat === 'pretty';
  const colour = isTTY && (process.env['NO_COLOR'] ?? '') === '';
  const prettify = isPretty ? await loadPrettifier(colour) : undefined;
  const sampling = { share: logSample, slowMs: logSlowMs };
  return { level: logLevel, prettify, destination: STDERR, clock: systemClock, sampling };
}

const EXIT_OF: Record<StartupError['kind'], ExitCode> = {
  configuration: EXIT.configuration,
  state: EXIT.cannotCreate,
  port: EXIT.unavailable,
  locked: EXIT.unavailable,
};

const explain = (error: unknown): unknown =>
  error instanceof StartupError
    ? new CommandError(error.message, EXIT_OF[error.kind], [error.hint])
    : error;
