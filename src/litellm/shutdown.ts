import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { askVersion, type Verification } from './verify.ts';

/** How long a LiteLLM goes on with what it has in hand, once it is told to stop. */
export interface Shutdown {
  /** Such as `1.108.5`; undefined: LiteLLM did not say. */
  readonly version: string | undefined;
  /** GRACEFUL_SHUTDOWN_TIMEOUT as the launcher gives it; undefined: the launcher did not say. */
  readonly seconds: number | undefined;
}

/** From this release on LiteLLM cancels what it has in hand; before, it waited without a limit. */
const CANCELS_SINCE = [1, 108] as const;
/** litellm/proxy/shutdown/graceful_shutdown_manager.py, where nothing else is set. */
const DEFAULT_SECONDS = 30;
/** Bytes of the launcher's file that are read. */
const MOST_BYTES = 4096;

/**
 * Looks at a LiteLLM and at what its launcher says of itself. Never rejects.
 *
 * @param reports the folder that the launcher writes
 */
export async function lookAtShutdown(reports: string, options: Verification): Promise<Shutdown> {
  const [version, seconds] = await Promise.all([askVersion(options), secondsIn(reports)]);
  return { version, seconds };
}

/** LiteLLM's container writes that folder and is not trusted: a plain file, and no link. */
async function secondsIn(reports: string): Promise<number | undefined> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    const file = await open(join(reports, 'launcher'), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile()) return undefined;
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MOST_BYTES));
      const text = buffer.toString('utf8', 0, bytesRead);
      const [, digits] = /^GRACEFUL_SHUTDOWN_TIMEOUT=(\d+(?:\.\d+)?)$/m.exec(text) ?? [];
      return digits === undefined ? undefined : Number(digits);
    } finally {
      await file.close();
    }
  } catch {
    return undefined;
  }
}

/**
 * What is wrong where LiteLLM cancels requests that the sidecar would let finish.
 *
 * @param drainMs SIDECAR_DRAIN
 */
export function shutdownWarning({ version, seconds = DEFAULT_SECONDS }: Shutdown, drainMs: number) {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version ?? '') ?? [];
  if (major === undefined || seconds * 1000 >= drainMs) return undefined;
  const [since, sinceMinor] = CANCELS_SINCE;
  const after = Number(major) - since || Number(minor) - sinceMinor;
  if (after < 0) return undefined;
  return {
    code: 'short_shutdown',
    message:
      `LiteLLM ${version} cancels requests ${seconds} s after it is told to stop, ` +
      `and SIDECAR_DRAIN lets them finish for ${Math.ceil(drainMs / 1000)} s`,
    hint:
      'give LiteLLM a GRACEFUL_SHUTDOWN_TIMEOUT of more seconds than SIDECAR_DRAIN ' +
      '(deploy/launch-litellm.sh does, where nothing else is set)',
  };
}
