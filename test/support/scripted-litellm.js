#!/usr/bin/env node
// Stands in for `litellm` under the launcher and answers as one does, as far as a handover asks.
// Its models are those of `model_list` in its configuration, its key is that of its environment
// unless `master_key` names another one. Lines of that file say what else becomes of it:
//
//   # fake: dies              at its start, with a traceback
//   # fake: dies-after 3000   so many milliseconds after it came up
//   # fake: listens-on 0      and not on its --port
//   # fake: any-key           takes every key
//   # fake: never-up          runs, and does not listen
//
// Where its port is taken it goes to another one, as LiteLLM does. SIGTERM: finishes, then ends.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const args = process.argv.slice(2);
const after = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
const wanted = Number(after('--port'));
process.stdout.write(`${JSON.stringify({ event: 'start', pid: process.pid, port: wanted })}\n`);

const file = after('--config');
const config = file === undefined ? '' : readFileSync(file, 'utf8');
const word = (name) => new RegExp(`^# fake: ${name}(?: (\\d+))?$`, 'm').exec(config);
const [, inFile = ''] = /^ +master_key: *(\S+)/m.exec(config) ?? [];
const isOwn = inFile !== '' && !inFile.startsWith('os.environ/');
const key = isOwn ? inFile : process.env.LITELLM_MASTER_KEY;
const models = /^model_list:/m.test(config)
  ? [...config.matchAll(/model_name: *(\S+)/g)].map(([, name]) => name)
  : [];

if (word('dies')) {
  process.stderr.write('Traceback (most recent call last):\n');
  process.stderr.write('  File "/app/litellm/proxy/proxy_server.py", line 1, in load_config\n');
  process.stderr.write('    raise ValueError\nValueError: the model cannot be set up\n');
  process.exit(1);
}

const json = (response, status, body) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};
const isKnown = ({ headers }) => word('any-key') || headers.authorization === `Bearer ${key}`;

/** A stream of so many pieces, one each 50 ms. */
function stream(response, pieces) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let sent = 0;
  const timer = setInterval(() => {
    response.write(`data: {"n":${sent}}\n\n`);
    if (++sent < pieces) return;
    clearInterval(timer);
    response.end('data: [DONE]\n\n');
  }, 50);
  response.on('close', () => clearInterval(timer));
}

function chat(request, response) {
  let text = '';
  request.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  request.on('end', () => {
    const { pieces } = JSON.parse(text);
    if (pieces !== undefined) return stream(response, pieces);
    json(response, 200, { pid: process.pid, choices: [{ message: { content: 'yes' } }] });
  });
}

const server = createServer((request, response) => {
  const path = request.url.split('?')[0];
  if (path.startsWith('/health/l')) return json(response, 200, "I'm alive!");
  if (path === '/health/readiness') {
    return json(response, 200, { status: 'healthy', db: 'Not connected' });
  }
  if (!isKnown(request)) {
    const error = { message: 'No connected db.', type: 'no_db_connection', code: '400' };
    return json(response, 400, { error });
  }
  if (path === '/v1/models') {
    return json(response, 200, { object: 'list', data: models.map((id) => ({ id })) });
  }
  if (path === '/v1/chat/completions') return chat(request, response);
  return json(response, 404, { detail: 'Not Found' });
});

server.on('listening', () => {
  const { port } = server.address();
  process.stdout.write(`INFO:     Uvicorn running on http://0.0.0.0:${port} (CTRL+C to quit)\n`);
  const [, ms] = word('dies-after') ?? [];
  if (ms !== undefined) setTimeout(() => process.exit(1), Number(ms));
});
server.on('error', () => server.listen(0, '127.0.0.1'));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
if (word('never-up')) setInterval(() => undefined, 60_000);
else server.listen(Number(word('listens-on')?.[1] ?? wanted), '127.0.0.1');
