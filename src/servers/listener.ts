import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A server that listens once it is told where. */
export type Listener = ReturnType<typeof listenerOf>;

export const listenerOf = (server: Server) => ({
  /** Port 0 takes a free one. Rejects with the listener's error (EADDRINUSE, EACCES …). */
  async listen(host: string, port: number): Promise<{ readonly port: number }> {
    server.listen(port, host);
    await once(server, 'listening');
    return { port: (server.address() as AddressInfo).port };
  },
});

/** The answers that a server still owes. */
export function createPendingAnswers() {
  const responses = new Set<ServerResponse>();
  let ending = false;
  const endWith = (response: ServerResponse): void => {
    if (!response.headersSent) response.setHeader('connection', 'close');
  };
  return {
    add(response: ServerResponse): void {
      responses.add(response);
      if (ending) endWith(response);
      response.once('close', () => responses.delete(response));
    },
    /** The connections of these answers end with them, and so does that of each later answer. */
    endConnections(): void {
      ending = true;
      for (const response of responses) endWith(response);
    },
    /** Resolves once no answer is owed, or after so many milliseconds. */
    async settled(withinMs: number): Promise<void> {
      const closed = [...responses].map((response) => once(response, 'close'));
      await Promise.race([Promise.allSettled(closed), sleep(withinMs, undefined, { ref: false })]);
    },
  };
}
