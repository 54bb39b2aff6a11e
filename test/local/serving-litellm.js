#!/usr/bin/env node
// Stands in for `litellm` where something must answer: liveness, models, and chat with the right key.
// It says in `started.json`, in the folder it runs in, what it was started with. A stream begins and
// goes on until the client leaves; SIGTERM lets what is open finish, as uvicorn does.
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';

const args = process.argv.slice(2);
const after = (name) => args[args.indexOf(name) + 1];
const config = readFileSync(after('--config'), 'utf8');
const { env } = process;
writeFileSync('started.json', JSON.stringify({ args, env, config }));

const server = createServer((request, response) => {
  const json = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  if (request.url?.startsWith('/health/')) return json(200, { status: 'healthy' });
  if (request.headers.authorization !== `Bearer ${env.LITELLM_MASTER_KEY}`) {
    return json(400, { error: { message: 'No connected db.', type: 'no_db_connection' } });
  }
  if (request.url === '/v1/models') return json(200, { data: [{ id: 'other' }, { id: 'mock' }] });
  let body = '';
  request.on('data', (chunk) => {
    body += chunk;
  });
  request.on('end', () => {
    if (!JSON.parse(body).stream) return json(200, { choices: [{ message: { content: 'hi' } }] });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: {"choices":[{}]}\n\n');
  });
});
server.listen(Number(after('--port')), after('--host'));
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
