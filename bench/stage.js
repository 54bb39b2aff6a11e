/** The processes of one run: upstream, load generator, peers; and how a peer is measured. */
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { keepMainThread, nextMessage, start, stop } from './children.js';
import { coreSeconds, family, processorSeconds, residentKiB } from './machine.js';

const script = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));

/** @param {number | undefined} core */
async function startHelper(/** @type {string} */ name, core) {
  const child = start(process.execPath, [script(name)], { core, ipc: true });
  return { child, port: (await nextMessage(child)).port };
}

/**
 * @param {object} given
 * @param {ReturnType<typeof import('./machine.js').pickCores>} given.cores
 * @param {'process' | 'main thread'} [given.pinned] what of a peer stays on its core
 * @param {string} given.key
 * @param {string} given.folder
 */
export async function createStage({ cores, pinned = 'process', key, folder }) {
  const upstream = await startHelper('./upstream.js', cores?.rest);
  const load = await startHelper('./load/main.js', cores?.rest);
  const rest = [upstream.child.pid ?? 0, load.child.pid ?? 0];
  let started = 0;

  /** @param {Record<string, unknown>} job */
  const ask = async (job) => {
    const answered = nextMessage(load.child);
    load.child.send({ key, ...job });
    const { result, failed } = await answered;
    if (failed !== undefined) throw new Error(failed);
    return result;
  };

  return {
    ask,
    /** @param {import('./peers.js').Peer} peer */
    async start(peer) {
      started += 1;
      const running = await peer.start({
        upstreamPort: upstream.port,
        key,
        folder: join(folder, `${started}-${peer.name}`),
        core: pinned === 'process' ? cores?.proxy : undefined,
      });
      const { pid } = running.child ?? {};
      const pids = pid === undefined ? [] : family(pid);
      /** To be called again once it has started threads. */
      const place = () => {
        if (pinned !== 'main thread' || cores === undefined || pid === undefined) return;
        keepMainThread(pid, cores.proxy);
      };
      place();
      return { ...running, pids, place };
    },
    /** @param {import('./peers.js').Running} running */
    async stop({ child }) {
      if (child !== undefined) await stop(child);
    },
    /**
     * Runs a closed loop, and says how busy the cores were meanwhile, as shares of 1.
     * @param {import('./peers.js').Running & {pids: readonly number[]}} running
     * @param {Record<string, unknown>} job
     */
    async loop({ port, pids, log }, job) {
      const read = () => ({
        at: performance.now() / 1000,
        proxy: processorSeconds(pids),
        rest: processorSeconds(rest),
        core: cores === undefined ? Number.NaN : coreSeconds(cores.proxy),
      });
      const before = read();
      const result = await ask({ ...job, port });
      const after = read();
      if (log !== undefined) truncateSync(log);
      const wall = after.at - before.at;
      return {
        ...result,
        proxyBusy: (after.proxy - before.proxy) / wall,
        restBusy: (after.rest - before.rest) / wall,
        foreign: Math.max(0, (after.core - before.core - after.proxy + before.proxy) / wall),
      };
    },
    resident: residentKiB,
  };
}

/** @typedef {Awaited<ReturnType<typeof createStage>>} Stage */
