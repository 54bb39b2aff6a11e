/** Who is measured: how each is started, and whether it does the work. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { family } from './harness/machine.ts';
import { ANSWER_BODY, ask, PATH, REQUEST_BODY } from './harness/payloads.ts';
import { freePort, ROOT, start, startProgram, untilListens } from './harness/processes.ts';
import { startSidecar } from './harness/sidecar.ts';

/** What a peer is started with. */
export interface Given {
  readonly upstreamPort: number;
  /** The one that is right. */
  readonly key: string;
  /** Its own. */
  readonly folder: string;
  readonly core: number | undefined;
  /** The binary for those that run in Node, and flags for it. */
  readonly node: string;
  readonly nodeArgs?: readonly string[];
}

export interface Running {
  readonly port: number;
  readonly child: ChildProcess;
  readonly pids: readonly number[];
  /** The sidecar's, with its access lines. */
  readonly log?: string;
}

export interface Peer {
  readonly name: string;
  readonly about: string;
  /** undefined: it is not installed. */
  readonly version: string | undefined;
  readonly inNode: boolean;
  start(given: Given): Promise<Running>;
}

const packageOf = (folder: string): string =>
  JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')).version;

const printed = (command: string): string | undefined => {
  const { stdout, stderr } = spawnSync(command, ['-v'], { encoding: 'utf8' });
  return /\d+\.\d+\.\d+/.exec(`${stdout}${stderr}`)?.[0];
};

const withFamily = (child: ChildProcess) => ({ child, pids: family(child.pid ?? 0) });

const nodePeer = (name: string, about: string): Peer => ({
  ...{ name, about, version: packageOf(`node_modules/${name}`), inNode: true },
  async start({ upstreamPort, key, core, node, nodeArgs }) {
    const { child, first } = await startProgram<{ port: number }>('bench/peer-process.ts', {
      // http-proxy 1.18.1 uses what Node 24 warns of.
      ...{ core, node, nodeArgs: ['--no-deprecation', ...(nodeArgs ?? [])] },
      args: [name, String(upstreamPort), key],
    });
    return { port: first.port, ...withFamily(child) };
  },
});

const sidecarPeer = (name: string, accessLog: boolean, about: string): Peer => ({
  ...{ name, about, version: packageOf('.'), inNode: true },
  async start(given) {
    const { child, port, log } = await startSidecar({ ...given, accessLog });
    return { port, ...(accessLog && { log }), ...withFamily(child) };
  },
});

/** A peer that is not written in Node: it is given a port, and a file with its configuration. */
const nativePeer = (options: {
  name: string;
  about: string;
  configure: (given: Given & { port: number }) => string;
  args: (file: string, folder: string) => readonly string[];
}): Peer => ({
  ...{ name: options.name, about: options.about },
  ...{ version: printed(options.name), inNode: false },
  async start(given) {
    const port = await freePort();
    mkdirSync(given.folder, { recursive: true });
    const file = join(given.folder, 'configuration');
    writeFileSync(file, options.configure({ ...given, port }));
    const { core, folder } = given;
    const child = start(options.name, options.args(file, folder), { core });
    await untilListens(child, port, 5000);
    return { port, ...withFamily(child) };
  },
});

const nginxConfiguration = ({ folder, key, port, upstreamPort }: Given & { port: number }) => `
daemon off; worker_processes 1; pid ${join(folder, 'pid')};
${process.getuid?.() === 0 ? 'user root;' : ''}
# With less than a sixteenth of them free, nginx begins to close what it can.
events { worker_connections 16384; }
http {
${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  .map((name) => `  ${name}_temp_path ${join(folder, name)};`)
  .join('\n')}
  access_log off;
  map_hash_bucket_size 256;
  map $http_authorization $client { default ""; "Bearer ${key}" "master"; }
  upstream bench { server 127.0.0.1:${upstreamPort}; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    keepalive_requests 1000000000;
    location / {
      if ($client = "") { return 401; }
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }
  }
}
`;

const haproxyConfiguration = ({ folder, key, port, upstreamPort }: Given & { port: number }) => {
  const keys = join(folder, 'keys.map');
  writeFileSync(keys, `${key} master\n`);
  return `
global
  nbthread 1
  maxconn 6000
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend bench
  bind 127.0.0.1:${port} backlog 4096
  http-request deny deny_status 401 unless { req.hdr(authorization),word(2,' '),map_str(${keys}) -m found }
  default_backend upstream
backend upstream
  http-reuse always
  server upstream 127.0.0.1:${upstreamPort}
`;
};

export const FLOOR = 'undici';
export const REFERENCE = 'http-proxy';
export const SUBJECT = 'sidecar';

/** The sidecar stands beside the one that its latency is compared with. */
export const PEERS: readonly Peer[] = [
  nodePeer(FLOOR, 'bare dispatch in a Node server, one key compared: the floor of Node'),
  nativePeer({
    ...{ name: 'nginx', about: 'one worker, keep-alive upstream, key map, no access log' },
    configure: nginxConfiguration,
    args: (file, folder) => ['-p', folder, '-c', file, '-e', join(folder, 'error.log')],
  }),
  nativePeer({
    ...{ name: 'haproxy', about: 'one thread, connections reused, key map, no access log' },
    configure: haproxyConfiguration,
    args: (file) => ['-db', '-f', file],
  }),
  nodePeer(REFERENCE, 'keep-alive agent, one key compared'),
  sidecarPeer(
    SUBJECT,
    true,
    'everything on: admission, limits, JSON access log in a file, metrics',
  ),
  sidecarPeer('sidecar-no-log', false, 'the same without access lines (`SIDECAR_LOG_LEVEL=warn`)'),
];

/** A peer that does not do the work is not measured. @throws with what it does not do */
export async function validate(running: Running, key: string): Promise<void> {
  const { port } = running;
  const right = await ask(port, { key });
  assert.deepEqual([right.status, right.said], [200, ANSWER_BODY], 'the right key');
  const kept = [...right.headers.keys()].filter((name) => name.startsWith('x-litellm-'));
  assert.equal(kept.length, 16, "LiteLLM's headers");
  const echo = await ask(port, { key, mode: 'echo' });
  assert.equal(echo.said, REQUEST_BODY, 'the request body as the upstream got it');
  assert.equal((await ask(port, { key: `${key}x` })).status, 401, 'a wrong key');
  assert.equal((await ask(port, {})).status, 401, 'no key');
  for (let tries = 0; running.log !== undefined; tries += 1) {
    if (readFileSync(running.log, 'utf8').includes(PATH)) break;
    assert.ok(tries < 100, 'an access line in the log');
    await sleep(20);
  }
}
