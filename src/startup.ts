import type { Config } from './config.ts';
import type { FirstKey } from './rotation/first-key.ts';
import type { Secret } from './secret.ts';
import { StartupError } from './startup-error.ts';
import { madeKeyPath } from './store/startup-keys.ts';
import type { Log } from './telemetry/log.ts';
import { createSlots } from './upstream/slots.ts';

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

/**
 * With a launcher: LiteLLM starts when its slot is there, and runs on if it is the same as before.
 */
export async function placeSlot(config: Config, key: Secret): Promise<void> {
  if (config.slots === undefined) return;
  try {
    const slots = createSlots({ folder: config.slots });
    await slots.place('a', { key, config: config.litellmConfig });
  } catch (cause) {
    throw new StartupError('state', `LiteLLM's slot cannot be made: ${(cause as Error).message}`, {
      hint: 'see SIDECAR_SLOTS and SIDECAR_LITELLM_CONFIG',
      cause,
    });
  }
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
