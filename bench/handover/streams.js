import { request } from 'node:http';
import { PATH } from '../payloads.js';
import { GAP_MS, streamBody, wholeText } from './chat.js';
import { wallMs } from './timed.js';

/**
 * What is said by the events of a stream, and whether it was ended as OpenAI's are.
 * @param {string} text
 */
function readEvents(text) {
  const events = text
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice('data: '.length));
  const said = events
    .filter((event) => event !== '[DONE]')
    .map((event) => JSON.parse(event).choices?.[0]?.delta?.content ?? '')
    .join('');
  return { said, done: events.at(-1) === '[DONE]' };
}

/**
 * Why a stream is not whole; undefined: it is.
 * @param {{status: number, complete: boolean, text: string}} answer
 * @param {number} chunks
 */
function faultOf({ status, complete, text }, chunks) {
  if (status !== 200) return `status ${status}`;
  if (!complete) return 'cut off';
  const { said, done } = readEvents(text);
  if (said !== wholeText(chunks)) return `${said.split(' ').length - 1} of ${chunks} chunks`;
  return done ? undefined : 'no [DONE]';
}

/**
 * @param {{port: number, key: string, chunks: number}} given
 * @returns {Promise<string | undefined>} why it is not whole
 */
function runStream({ port, key, chunks }) {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const asked = request({
      ...{ host: '127.0.0.1', port, method: 'POST', path: PATH, headers, agent: false },
    });
    asked.once('error', (error) => resolve(error.message));
    asked.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => {
        text += part;
      });
      response.once('error', (error) => resolve(error.message));
      response.once('close', () => {
        const { statusCode: status = 0, complete } = response;
        resolve(faultOf({ status, complete, text }, chunks));
      });
    });
    asked.end(streamBody(chunks));
  });
}

/**
 * Streams that begin together; resolves when all have ended.
 * @param {{port: number, key: string, count: number, seconds: number}} given
 */
export async function runStreams({ port, key, count, seconds }) {
  const chunks = Math.max(1, Math.round((seconds * 1000) / GAP_MS));
  const from = wallMs();
  const each = Array.from({ length: count }, async () => {
    const fault = await runStream({ port, key, chunks });
    return { fault, from, to: wallMs() };
  });
  return await Promise.all(each);
}

/** @typedef {Awaited<ReturnType<typeof runStreams>>[number]} StreamEnd */
