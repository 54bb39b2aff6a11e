/** What becomes of one request with one key, on a connection of its own. */
import { request } from 'node:http';
import { PATH, REQUEST_BODY } from '../payloads.js';

/**
 * @param {number} port
 * @param {string} key
 * @returns {Promise<{status: number, refusal: string | undefined}>}
 */
export function present(port, key) {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'x-bench': 'json',
    };
    const asked = request({
      ...{ host: '127.0.0.1', port, method: 'POST', path: PATH, headers, agent: false },
    });
    asked.once('error', reject);
    asked.setTimeout(10_000, () => asked.destroy(new Error('no answer in 10 s')));
    asked.once('response', (response) => {
      response.once('error', reject).resume();
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          refusal: response.headers['x-sidecar-refusal']?.toString(),
        }),
      );
    });
    asked.end(REQUEST_BODY);
  });
}
