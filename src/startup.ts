import type { Config } from './config/settings.ts';
import type { FirstKey } from './rotation/declared.ts';
import { StartupError } from './startup-error.ts';
import { madeKeyPath } from './store/key-files.ts';
import type { Log } from './telemetry/log.ts';

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
