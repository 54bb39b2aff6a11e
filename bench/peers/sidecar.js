/** The sidecar as an operator runs it, everything on; its log goes into a file. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { start } from '../children.js';

export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** How long the ready line may take before the bench gives up, in milliseconds. */
const PATIENCE = 15_000;

/**
 * The ready line of a log, once it is there.
 * @param {string} log
 * @returns {{port: number, opsPort: number} | undefined}
 */
function readyLine(log) {
  for (const line of log.split('\n')) {
    if (!line.startsWith('{') || !line.endsWith('}')) continue;
    const entry = JSON.parse(line);
    if (entry.msg === 'ready') return entry;
  }
  return undefined;
}

/** @type {import('../peers.js').Peer['start']} */
export const startSidecar = (given) => startBuild({ ...given, main: MAIN });

/**
 * Starts a build of the sidecar; again in the same folder, where it ran before.
 * @param {import('../peers.js').Given & {main: string, port?: number, env?: NodeJS.ProcessEnv}} given
 */
export async function startBuild({ upstreamPort, key, folder, core, main, port = 0, env }) {
  mkdirSync(folder, { recursive: true });
  const log = join(folder, 'log');
  // The ready line of a start before is not this one's.
  rmSync(log, { force: true });
  const from = performance.now();
  const child = start(process.execPath, [main], {
    core,
    cwd: folder,
    output: log,
    env: {
      SIDECAR_HOST: '127.0.0.1',
      SIDECAR_PORT: String(port),
      SIDECAR_OPS_HOST: '127.0.0.1',
      SIDECAR_OPS_PORT: '0',
      SIDECAR_STATE: join(folder, 'state'),
      SIDECAR_UPSTREAM: `http://127.0.0.1:${upstreamPort}`,
      LITELLM_MASTER_KEY: key,
      ...env,
    },
  });
  for (let size = 0; performance.now() - from < PATIENCE; await sleep(1)) {
    const now = existsSync(log) ? statSync(log).size : 0;
    if (child.exitCode !== null || child.signalCode !== null) break;
    if (now === size) continue;
    size = now;
    const readyMs = performance.now() - from;
    const ready = readyLine(readFileSync(log, 'utf8'));
    if (ready) return { port: ready.port, opsPort: ready.opsPort, child, log, readyMs };
  }
  throw new Error(`the sidecar did not get ready: ${readFileSync(log, 'utf8').slice(-2000)}`);
}
