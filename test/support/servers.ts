import { once } from 'node:events';
import { Server as HttpServer } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { afterEach } from 'vitest';

/** Servers on ports of their own, which end after each test of the file that calls this. */
export function createServers() {
  const open: Server[] = [];
  /** Ends all of them: nobody listens on their ports any more. */
  const endAll = (): void => {
    for (const server of open.splice(0)) {
      if (server instanceof HttpServer) server.closeAllConnections();
      server.close();
    }
  };
  afterEach(endAll);
  /** Resolves to the server's origin once it listens. */
  const listen = async (server: Server, host = '127.0.0.1'): Promise<URL> => {
    open.push(server.listen(0, host));
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return new URL(`http://${host.includes(':') ? `[${host}]` : host}:${port}`);
  };
  return { listen, endAll };
}
