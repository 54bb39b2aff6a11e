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
import { readVersion } from '../settings.ts';
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
  // All of it before the start: from then on nothing may stand between a signal and the drain.
  const [{ startApp }, { createLog }, { default: closeWithGrace }] = await Promise.all([
    import('../../app/app.ts'),
    import('../../telemetry/log.ts'),
    import('close-with-grace'),
  ]);
  const log = createLog(logOptions(loaded.config));
  // However the process ends, the last lines say why.
  process.on('exit', log.flush);
  for (const warning of loaded.warnings) log.warn({}, warning);
  const app = await startApp({
    config: loaded.config,
    log,
    clock: systemClock,
    version: readVersion(),
    nodeVersion: process.versions.node,
    places: openDeclaredPlaces(places),
    upstreamKeyPlaces: openUpstreamKeyPlaces(places),
  }).catch((error: unknown) => {
    log.flush();
    throw explain(error);
  });
  const { port, opsPort } = app;
  closeWithGrace({ delay: false, logger: false }, async ({ err, signal }) => {
    if (err) log.error({ err }, 'an error nobody caught: stopping');
    else log.info({ signal }, 'stopping; a second signal ends it at once');
    await app.drain();
    log.info({}, 'stopped');
    log.flush();
  });
  log.info({ port, opsPort, version: readVersion() }, 'ready');
  log.flush();
}

const STDERR = 2;

function logOptions({ logLevel, logFormat }: Config): LogOptions {
  const { isTTY } = process.stderr;
  const format = logFormat === 'auto' ? (isTTY ? 'pretty' : 'json') : logFormat;
  const colour = isTTY && (process.env['NO_COLOR'] ?? '') === '';
  return { level: logLevel, format, destination: STDERR, clock: systemClock, colour };
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
