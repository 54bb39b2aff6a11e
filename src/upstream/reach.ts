import { request } from 'node:http';
import { connect } from 'node:net';

/** Whether something takes connections at an origin; a name that does not resolve is a no. */
export async function canConnect(origin: URL, timeoutMs: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const port = Number(origin.port === '' ? 80 : origin.port);
    const socket = connect({ host: bareHost(origin), port, timeout: timeoutMs });
    const settle = (reached: boolean) => () => {
      socket.destroy();
      resolve(reached);
    };
    socket.once('connect', settle(true)).once('error', settle(false));
    socket.once('timeout', settle(false));
  });
}

/** `URL` keeps the brackets of an IPv6 address; sockets want none. */
const bareHost = (origin: URL): string => origin.hostname.replace(/^\[(.*)\]$/, '$1');

export type Health = 'alive' | 'silent' | 'away';

/**
 * Asks LiteLLM (at its root, with a slash at the end) whether it lives, without a key and without a
 * call to any provider (litellm/proxy/health_endpoints). Whatever answers below 500 is alive; what
 * takes the question and says nothing in time is silent, and may only be busy.
 */
export async function askHealth(origin: URL, timeoutMs: number): Promise<Health> {
  return await new Promise((resolve) => {
    const asked = request(
      new URL('health/liveliness', origin),
      { agent: false, timeout: timeoutMs },
      (answer) => {
        answer.resume();
        resolve((answer.statusCode ?? 500) < 500 ? 'alive' : 'away');
      },
    );
    asked.once('error', () => resolve('away'));
    asked.once('timeout', () => {
      resolve('silent');
      asked.destroy();
    });
    asked.end();
  });
}
