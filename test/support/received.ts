import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach } from 'vitest';

/**
 * Makes requests as Node's server gives them, whose bodies a test sends byte for byte; takes client
 * and server down after each test of the file it is called in.
 */
export function createReceiver() {
  const ends: (() => unknown)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0).reverse()) end();
  });
  return async (head: string, body = ''): Promise<{ request: IncomingMessage; client: Socket }> => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    client.on('error', () => undefined);
    ends.push(() => {
      client.destroy();
      server.close();
    });
    client.write(`POST / HTTP/1.1\r\nhost: a\r\n${head}\r\n\r\n${body}`);
    const [request] = (await once(server, 'request')) as [IncomingMessage];
    request.on('error', () => undefined);
    // What came in the packet of the head is there one turn later.
    await Promise.resolve();
    return { request, client };
  };
}
