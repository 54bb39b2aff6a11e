/** nginx and HAProxy with one worker, a key map and a keep-alive upstream. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { start } from '../children.js';
import { fileLimit } from '../machine.js';

/** A port that nobody holds at this moment: neither of the two takes one by itself. */
const freePort = () =>
  /** @type {Promise<number>} */ (
    new Promise((resolve, reject) => {
      const server = createServer().once('error', reject);
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        const port = typeof address === 'object' && address !== null ? address.port : 0;
        server.close(() => resolve(port));
      });
    })
  );

const accepts = (/** @type {number} */ port) =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(socket.destroy() !== undefined));
    socket.once('error', () => resolve(false));
  });

/**
 * @param {import('node:child_process').ChildProcess} child
 * @param {number} port
 */
async function untilAccepts(child, port) {
  const until = Date.now() + 5000;
  while (!(await accepts(port))) {
    if (child.exitCode !== null || Date.now() > until) {
      throw new Error(`${child.spawnargs.join(' ')} does not listen`);
    }
    await sleep(20);
  }
  return { port, child };
}

/** Two files to a stream, and a few of their own. */
const maxConnections = () => Math.min(9_900, Math.floor((fileLimit() - 200) / 2));

/** @type {import('../peers.js').Peer['start']} */
export async function startNginx({ upstreamPort, key, folder, core }) {
  const port = await freePort();
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'nginx.conf');
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `  ${name}_temp_path ${join(folder, name)};`)
    .join('\n');
  writeFileSync(
    file,
    `daemon off; worker_processes 1; pid ${join(folder, 'pid')};
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_rlimit_nofile ${Math.min(fileLimit(), 65_536)};
# With less than a sixteenth of them free, nginx begins to close what it can.
events { worker_connections 24000; }
http {
${temp}
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
`,
  );
  const args = ['-p', folder, '-c', file, '-e', join(folder, 'error.log')];
  return untilAccepts(start('nginx', args, { core }), port);
}

/** @type {import('../peers.js').Peer['start']} */
export async function startHaproxy({ upstreamPort, key, folder, core }) {
  const port = await freePort();
  mkdirSync(folder, { recursive: true });
  const [file, keys] = [join(folder, 'haproxy.cfg'), join(folder, 'keys.map')];
  writeFileSync(keys, `${key} master\n`);
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn ${maxConnections()}
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
`,
  );
  return untilAccepts(start('haproxy', ['-db', '-f', file], { core }), port);
}
