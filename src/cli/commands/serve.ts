import type { App } from '../../app/app.ts';
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
import type { Log } from '../../telemetry/log.ts';
import type { CommandDefinition } from '../scene.ts';
import { readVersion } from '../settings.ts';
import { CommandError, EXIT, type ExitCode } from '../terminal.ts';

const EXIT_OF: Record<StartupError['kind'], ExitCode> = {
  configuration: EXIT.configuration,
  state: EXIT.cannotCreate,
  port: EXIT.unavailable,
  locked: EXIT.unavailable,
};

const STDERR = 2;

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
export async function serve(options: { env: NodeJS.ProcessEnv; cwd: string }): Promise<void> {
  const loaded = loadConfig(options);
  if (!loaded.ok) {
    throw new CommandError(
      'the configuration has mistakes',
      EXIT.configuration,
      [],
      [formatMistakes(loaded.mistakes)],
    );
  }
  const { config } = loaded;
  const log = await openLog(config);
  // Whatever ends the process, the last lines say why.
  process.on('exit', log.flush);
  for (const warning of loaded.warnings) log.warn({}, warning);
  const app = await start(config, log, options);
  const { port, opsPort } = app;
  const { default: closeWithGrace } = await import('close-with-grace');
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

async function openLog({ logLevel, logFormat }: Config): Promise<Log> {
  const { createLog } = await import('../../telemetry/log.ts');
  const { isTTY } = process.stderr;
  const format = logFormat === 'auto' ? (isTTY ? 'pretty' : 'json') : logFormat;
  const colour = isTTY && (process.env['NO_COLOR'] ?? '') === '';
  return createLog({ level: logLevel, format, destination: STDERR, clock: systemClock, colour });
}

async function start(config: Config, log: Log, surroundings: ConfigPlaces): Promise<App> {
  const { startApp } = await import('../../app/app.ts');
  try {
    return await startApp({
      config,
      log,
      clock: systemClock,
      version: readVersion(),
      nodeVersion: process.versions.node,
      places: openDeclaredPlaces(surroundings),
      upstreamKeyPlaces: openUpstreamKeyPlaces(surroundings),
    });
  } catch (error) {
    log.flush();
    if (!(error instanceof StartupError)) throw error;
    throw new CommandError(error.message, EXIT_OF[error.kind], [error.hint]);
  }
}
