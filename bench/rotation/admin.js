/** The admin API over the socket in the state folder, as the command line uses it. */
import { Agent, request } from 'node:http';

/**
 * @typedef {object} GenerationView what is read here of views.ts
 * @property {string} id
 * @property {'active' | 'retiring' | 'retired' | 'revoked'} state
 * @property {string | null} validUntil
 * @property {boolean} clockStarted
 *
 * @typedef {{status: number, body: any}} Answer
 */

/**
 * @param {string} socketPath
 * @returns what asks; rejects where the sidecar does not answer
 */
export function createAdmin(socketPath) {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });

  /**
   * @param {'GET' | 'POST'} method
   * @param {string} path
   * @param {object} [fields]
   * @returns {Promise<Answer>}
   */
  const ask = (method, path, fields) =>
    new Promise((resolve, reject) => {
      const headers = fields === undefined ? {} : { 'content-type': 'application/json' };
      const asked = request({ socketPath, agent, method, path, headers });
      asked.once('error', reject);
      asked.once('response', (response) => {
        let text = '';
        response.once('error', reject);
        response.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        response.once('end', () => {
          // A sidecar that is killed in the middle of an answer gave none.
          if (!response.complete) reject(new Error('the answer was cut off'));
          else resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
        });
      });
      asked.end(fields === undefined ? undefined : JSON.stringify(fields));
    });

  return {
    /** @param {object} fields `grace`, `compromised`, `force` */
    rotate: (fields) => ask('POST', '/api/clients/master/rotate', fields),
    /** @param {string} id */
    revoke: (id) => ask('POST', `/api/generations/${id}/revoke`, { force: true }),
    client: () => ask('GET', '/api/clients/master'),
    verify: () => ask('GET', '/api/audit/verify'),
    handOver: () => ask('POST', '/api/upstream/rotate'),
    /** @param {string} id */
    handover: (id) => ask('GET', `/api/upstream/handovers/${id}`),
    close: () => agent.destroy(),
  };
}

/** @typedef {ReturnType<typeof createAdmin>} Admin */
