import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, it } from 'vitest';
import { createPipelineGuard } from '../../src/servers/pipelining.ts';

it.each([
  ['', 1],
  ['expect: 100-continue\r\ncontent-length: 1\r\n\r\nx', 0],
  ['content-length: 5\r\n\r\nabcde', 0],
  ['transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n', 1],
])('makes no request of what it does not serve (%j)', async (fields, ends) => {
  const isServed = createPipelineGuard();
  const calls = { made: 0, served: 0 };
  const server = createServer((request, response) => {
    calls.made++;
    if (!isServed(request, response)) return;
    calls.served++;
    response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined).resume();
  client.write(`POST / HTTP/1.1\r\nhost: a\r\n${fields}${'\r\n'.repeat(ends)}`.repeat(2000));
  await once(client, 'close');
  server.close();
  expect(calls).toEqual({ made: 17, served: 16 });
});
