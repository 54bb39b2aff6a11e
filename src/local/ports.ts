import { createServer } from 'node:net';
import { CommandError, EXIT } from '../cli/exit-code.ts';

/** An address to listen on, and the setting that names it. */
export interface Wanted {
  readonly host: string;
  readonly port: number;
  readonly setting: string;
}

/** Holds a port for a moment; gives the one that was taken (for 0: a free one) and its release. */
function hold(host: string, port: number): Promise<{ port: number; release(): Promise<void> }> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('no tcp address');
      const release = (): Promise<void> =>
        new Promise((done) => {
          server.close(() => done());
        });
      resolve({ port: address.port, release });
    });
  });
}

function explain(error: unknown, { host, port, setting }: Wanted): CommandError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') {
    return new CommandError(`port ${port} is in use`, EXIT.unavailable, [
      `take another: ${setting}=${port + 100} npm run local`,
      'or end what listens there: is it `docker compose up`, or another `npm run local`?',
    ]);
  }
  if (code === 'EACCES') {
    const hint = `ports below 1024 want privileges; take another with ${setting}`;
    return new CommandError(`port ${port} is not allowed`, EXIT.unavailable, [hint]);
  }
  const hint = 'the address must be one of this machine; 127.0.0.1 always is';
  return new CommandError(`cannot listen on ${host}:${port} (${message})`, EXIT.unavailable, [
    hint,
  ]);
}

/**
 * Checks that ports are free and picks one for each 0; all are held at once, so that they differ.
 * Another process may take one in the moment after. Throws `CommandError`.
 */
export async function claimPorts(wanted: readonly Wanted[]): Promise<readonly number[]> {
  const held: { port: number; release(): Promise<void> }[] = [];
  try {
    for (const one of wanted) {
      held.push(
        await hold(one.host, one.port).catch((error: unknown) => {
          throw explain(error, one);
        }),
      );
    }
    return held.map(({ port }) => port);
  } finally {
    await Promise.all(held.map(({ release }) => release()));
  }
}
