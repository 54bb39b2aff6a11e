/** One gateway as it is in earnest: launcher, LiteLLM, sidecar, and a provider behind them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nextMessage, start, stop } from '../children.js';
import { family } from '../machine.js';
import { MAIN, startBuild } from '../peers/sidecar.js';
import { createAdmin } from '../rotation/admin.js';
import { present } from '../rotation/presented.js';
import { litellmConfig } from './chat.js';
import { findLitellm, freePorts, litellmPids, until } from './litellm.js';

const script = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
/** Lines of the sidecar's log that are shown where something is wrong. */
const LAST_WORDS = 15;

const LAUNCHER = script('../../deploy/launch-litellm.sh');

/** @typedef {import('node:child_process').ChildProcess} Child */

/** What would outlive a bench that ends early: `children.js` ends no grandchildren. */
/** @type {Set<() => void>} */
const endings = new Set();
export function endGateways() {
  for (const end of endings) end();
}

const kill = (/** @type {number} */ pid) => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
};

/** @param {Child} child */
async function killChild(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** Where the launcher leaves LiteLLM's last words. @param {string} slots */
const reportsOf = (slots) => `${slots}.reports`;

/** @param {string} folder */
function createPlaces(folder) {
  const place = (/** @type {string[]} */ ...names) => join(folder, ...names);
  const places = {
    ...{ slots: place('slots'), config: place('config.yaml') },
    // The sidecar takes away what it did not put into its own.
    besideSlots: place('beside'),
    ...{ litellmLog: place('litellm.log'), sidecar: place('sidecar') },
    upstreamKeys: place('sidecar', 'state', 'upstream'),
  };
  for (const path of [places.slots, places.besideSlots]) {
    mkdirSync(path, { recursive: true });
    mkdirSync(reportsOf(path));
  }
  return places;
}

/**
 * @param {string} folder an empty one, its own
 * @param {{key: string, settings: NodeJS.ProcessEnv}} options `settings` of the sidecar
 */
export async function startGateway(folder, { key, settings }) {
  const places = createPlaces(folder);
  const { slots, config } = places;
  const bin = findLitellm();
  const ports = await freePorts();
  const provider = start(process.execPath, [script('./provider.js')], {
    core: undefined,
    ipc: true,
  });
  writeFileSync(config, litellmConfig((await nextMessage(provider)).port));

  const startLauncher = (folderOfSlots = slots) =>
    start('sh', [LAUNCHER, '--host', '127.0.0.1'], {
      ...{ core: undefined, cwd: folder, output: places.litellmLog },
      env: {
        PATH: `${dirname(bin)}:${process.env.PATH}`,
        ...{ HOME: folder, LITELLM_BIN: bin, LITELLM_MODE: 'PRODUCTION' },
        LITELLM_LOCAL_MODEL_COST_MAP: 'True',
        ...{ LAUNCHER_SLOTS: folderOfSlots, LAUNCHER_REPORTS: reportsOf(folderOfSlots) },
        ...{ LAUNCHER_PORT_A: String(ports.a), LAUNCHER_PORT_B: String(ports.b) },
      },
    });
  const startSidecar = (port = 0) =>
    startBuild({
      ...{ upstreamPort: ports.a, key, folder: places.sidecar, core: undefined, main: MAIN, port },
      env: {
        SIDECAR_UPSTREAM: `http://127.0.0.1:${ports.a},http://127.0.0.1:${ports.b}`,
        ...{
          SIDECAR_SLOTS: slots,
          SIDECAR_REPORTS: reportsOf(slots),
          SIDECAR_LITELLM_CONFIG: config,
        },
        SIDECAR_DRAIN_DELAY: '0',
        ...settings,
      },
    });

  const launchers = [startLauncher()];
  const end = () => {
    const pids = launchers.flatMap(({ pid = 0 }) => family(pid));
    for (const pid of [...pids, ...litellmPids(folder)]) kill(pid);
  };
  endings.add(end);
  let sidecar = await startSidecar();
  const { port } = sidecar;
  let admin = createAdmin(join(places.sidecar, 'state', 'admin.sock'));

  const works = async () => (await present(port, key).catch(() => undefined))?.status === 200;
  await until(`an answer; see ${places.litellmLog}`, works);

  return {
    ...{ key, port, slots, keys: places.upstreamKeys, works },
    admin: () => admin,
    sidecarPid: () => sidecar.child.pid ?? 0,
    /** What the sidecar said last, for whoever looks for a reason. */
    lastWords() {
      const lines = readFileSync(sidecar.log, 'utf8').split('\n');
      return lines.filter((line) => !line.includes('"msg":"request"')).slice(-LAST_WORDS);
    },
    killSidecar() {
      admin.close();
      return killChild(sidecar.child);
    },
    /** With the same state and port. */
    async startSidecarAgain() {
      sidecar = await startSidecar(port);
      admin = createAdmin(join(places.sidecar, 'state', 'admin.sock'));
    },
    async killLauncher() {
      for (const launcher of launchers.splice(0)) await killChild(launcher);
    },
    startLauncherAgain() {
      launchers.push(startLauncher());
    },
    /** A launcher beside the sidecar's, for a LiteLLM that no request reaches. */
    beside() {
      launchers.push(startLauncher(places.besideSlots));
      return { slots: places.besideSlots, slot: /** @type {const} */ ('b'), port: ports.b, config };
    },
    /** @param {import('./litellm.js').Slot} slot @returns {boolean} whether one ran there */
    killLitellm(slot) {
      const pids = litellmPids(slots, slot);
      for (const pid of pids) kill(pid);
      return pids.length > 0;
    },
    async stop() {
      admin.close();
      await stop(sidecar.child);
      end();
      endings.delete(end);
      await Promise.all([...launchers, provider].map(stop));
    },
  };
}

/** @typedef {Awaited<ReturnType<typeof startGateway>>} Gateway */
