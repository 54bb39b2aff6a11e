/** A peer that does not do the work is not measured. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { delays } from './load/sse.js';
import { ANSWER_BODY, PATH, REQUEST_BODY } from './payloads.js';
import { DIRECT } from './peers.js';

/**
 * One request over a connection of its own.
 * @param {{port: number, method?: string, path?: string, key?: string, mode?: string,
 *   onData?: (chunk: Buffer) => void}} options
 * @returns {Promise<{status: number, type: string, body: string}>}
 */
function ask({ port, method = 'POST', path = PATH, key, mode = 'json', onData }) {
  return new Promise((resolve, reject) => {
    const headers = {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
      'x-bench': mode,
    };
    const asked = request({ host: '127.0.0.1', port, method, path, headers, agent: false });
    asked.once('error', reject);
    asked.setTimeout(10_000, () => asked.destroy(new Error(`no answer on ${method} ${path}`)));
    asked.once('response', (response) => {
      let body = '';
      response.once('error', reject);
      response.on('data', (chunk) => {
        onData?.(chunk);
        body += chunk;
      });
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'] ?? '',
          body,
        }),
      );
    });
    asked.end(method === 'POST' ? REQUEST_BODY : undefined);
  });
}

/**
 * The sidecar runs with everything on: the exchange is in its log and in its metrics.
 * @param {import('./peers.js').Running} running
 */
async function everythingOn({ opsPort, log }) {
  if (opsPort === undefined || log === undefined) return;
  const metrics = await ask({ port: opsPort, method: 'GET', path: '/metrics' });
  assert.match(metrics.body, /^litellm_sidecar_requests_total\{.*status="200".*\} [1-9]/m);
  const logged = () => readFileSync(log, 'utf8').includes('/v1/chat/completions');
  for (let tries = 0; tries < 100 && !logged(); tries += 1) await sleep(20);
  assert.ok(logged(), 'no access line in the log');
}

/**
 * @param {string} name
 * @param {import('./peers.js').Running} running
 * @param {string} key
 * @returns {Promise<void>} rejects with what is wrong
 */
export async function validate(name, running, key) {
  const { port } = running;
  const right = await ask({ port, key });
  assert.deepEqual([right.status, right.body], [200, ANSWER_BODY], 'the right key');
  const echo = await ask({ port, key, mode: 'echo' });
  assert.equal(echo.body, REQUEST_BODY, 'the request body as the upstream got it');

  if (name !== DIRECT) {
    assert.equal((await ask({ port, key: `${key}x` })).status, 401, 'a wrong key');
    assert.equal((await ask({ port })).status, 401, 'no key');
  }

  /** @type {number[]} */
  const late = [];
  const onData = (/** @type {Buffer} */ chunk) => delays(chunk, (ms) => late.push(ms));
  const stream = await ask({ port, key, mode: 'sse 5 120', onData });
  assert.match(stream.type, /^text\/event-stream/);
  assert.ok(stream.body.endsWith('data: [DONE]\n\n'), 'the end of the stream');
  assert.equal(late.length, 5, 'the chunks of the stream');
  assert.ok(Math.max(...late) < 100, `chunks are held back: ${late.join(', ')} ms`);
  await everythingOn(running);
}
