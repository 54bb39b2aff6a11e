/** Who is measured: how each is started, and what it calls itself. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { nextMessage, start } from './children.js';
import { hasCommand } from './machine.js';
import { startHaproxy, startNginx } from './peers/native.js';
import { MAIN, startSidecar } from './peers/sidecar.js';

/**
 * @typedef {object} Given what a peer is started with
 * @property {number} upstreamPort
 * @property {string} key the one that is right
 * @property {string} folder an empty one, the peer's own
 * @property {number | undefined} core
 *
 * @typedef {object} Running
 * @property {number} port
 * @property {import('node:child_process').ChildProcess | undefined} child
 * @property {number} [opsPort] the sidecar's
 * @property {string} [log] the file of the sidecar's log
 * @property {number} [readyMs] from the start to the ready line
 *
 * @typedef {object} Peer
 * @property {string} name
 * @property {string} about
 * @property {() => string | undefined} version undefined: not here
 * @property {(given: Given) => Promise<Running>} start
 */

const versionOf = (/** @type {string} */ name) =>
  JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url), 'utf8'))
    .version;

const printedVersion = (/** @type {string} */ command) => {
  if (!hasCommand(command)) return undefined;
  const { stdout, stderr } = spawnSync(command, ['-v'], { encoding: 'utf8' });
  return /\d+\.\d+\.\d+/.exec(stdout + stderr)?.[0];
};

/** @param {string} script @returns {Peer['start']} */
const inNode =
  (script) =>
  async ({ upstreamPort, key, core }) => {
    const child = start(process.execPath, [fileURLToPath(new URL(script, import.meta.url))], {
      core,
      ipc: true,
      env: { BENCH_UPSTREAM_PORT: String(upstreamPort), BENCH_KEY: key },
    });
    const { port } = await nextMessage(child);
    return { port, child };
  };

/** The one that every ratio refers to. */
export const REFERENCE = 'http-proxy';
export const SUBJECT = 'sidecar';
/** No proxy at all. */
export const DIRECT = 'upstream';

/** @type {readonly Peer[]} */
export const PEERS = [
  {
    name: DIRECT,
    about: 'no proxy: the load generator straight to the upstream',
    version: () => '',
    start: async ({ upstreamPort }) => ({ port: upstreamPort, child: undefined }),
  },
  {
    name: REFERENCE,
    about: 'keep-alive agent, one key compared',
    version: () => versionOf('http-proxy'),
    start: inNode('./peers/http-proxy.js'),
  },
  {
    name: 'http-proxy-3',
    about: 'keep-alive agent, one key compared',
    version: () => versionOf('http-proxy-3'),
    start: inNode('./peers/http-proxy-3.js'),
  },
  {
    name: 'undici',
    about: 'bare dispatch in a Node server, one key compared: a ceiling, not a proxy',
    version: () => versionOf('undici'),
    start: inNode('./peers/undici.js'),
  },
  {
    name: 'nginx',
    about: 'one worker, keep-alive upstream, key map, no access log',
    version: () => printedVersion('nginx'),
    start: startNginx,
  },
  {
    name: 'haproxy',
    about: 'one thread, connections reused, key map, no access log',
    version: () => printedVersion('haproxy'),
    start: startHaproxy,
  },
  {
    name: SUBJECT,
    about: 'everything on: admission, limits, access log as JSON into a file, metrics',
    version: () =>
      existsSync(MAIN)
        ? JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version
        : undefined,
    start: startSidecar,
  },
];
