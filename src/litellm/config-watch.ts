import { createWatch, type Watch, type WatchOptions } from '../watch.ts';
import { type ConfigSeen, ConfigTreeError, lookAtConfig, stampsOf } from './config.ts';

interface ConfigWatchOptions extends Pick<WatchOptions<ConfigSeen>, 'pollMs'> {
  /** `config.yaml`, or the folder that holds it: as `readConfigTree` takes it. */
  readonly source: string;
  /**
   * Told of the first digest or error that settled, and of each that is not what it was told last:
   * a digest is told again after an error. Must not throw.
   */
  readonly onChanged: (found: ConfigSeen) => void;
  /** A reading counts once another one so many milliseconds later agrees. */
  readonly settleMs?: number;
}

/** Some file systems count whole seconds; after that long each edit has stamps of its own. */
const SETTLE_MS = 1000;

/**
 * Follows LiteLLM's configuration by looks alone, because events of a mounted folder get lost. A
 * look reads no file where no file's time or size changed.
 */
export function createConfigWatch(options: ConfigWatchOptions): Watch {
  const { source, onChanged, settleMs = SETTLE_MS, pollMs } = options;
  let last: { readonly stamps: string; readonly found: ConfigSeen } | undefined;
  return createWatch({
    settleMs,
    pollMs,
    onSettled: onChanged,
    markOf: (found) => (typeof found === 'string' ? found : `error ${found.message}`),
    async read() {
      // The stamps come first, so that what changes during the reading has others at the next look.
      const stamps = await stampsOf(source);
      const found = await lookAtConfig(source);
      last = { stamps, found };
      return found;
    },
    isUnchanged: async () =>
      last !== undefined && !mayPass(last.found) && (await stampsOf(source)) === last.stamps,
  });
}

/** An error of the file system can pass and leave no mark in any stamp: too many open files. */
const mayPass = (found: ConfigSeen): boolean =>
  found instanceof ConfigTreeError && found.cause !== undefined;
