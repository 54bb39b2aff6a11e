/** The LiteLLM of this bench: where it is, which processes are its own, and whether it answers. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** @typedef {'a' | 'b'} Slot */

const LOOK_MS = 50;
/** How long a start or an end may take, in milliseconds. */
const PATIENCE_MS = 180_000;

/** The program that `LITELLM_BIN` names, or the one that scripts/install-litellm.js made. */
export function findLitellm() {
  const named = process.env.LITELLM_BIN ?? '';
  const ours = new URL('../../.local/litellm/bin/litellm', import.meta.url);
  const bin = named === '' ? fileURLToPath(ours) : resolve(named);
  if (existsSync(bin)) return bin;
  throw new Error(
    `there is no litellm at ${bin}: npm run build && node scripts/install-litellm.js`,
  );
}

/** LiteLLM takes no port 0; between this and its start somebody else could take the port. */
export async function freePorts() {
  const servers = [createServer(), createServer()];
  const ports = servers.map(async (server) => {
    await new Promise((ready) => server.listen(0, '127.0.0.1', () => ready(undefined)));
    const address = server.address();
    return typeof address === 'object' ? (address?.port ?? 0) : 0;
  });
  const [a = 0, b = 0] = await Promise.all(ports);
  for (const server of servers) server.close();
  return { a, b };
}

const commandLine = (/** @type {string} */ pid) => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
};

/**
 * The LiteLLMs that were started from a folder of slots, told apart by their configuration; also
 * where their launcher is gone.
 * @param {string} slots or the folder that holds it
 * @param {Slot} [slot]
 */
export const litellmPids = (slots, slot) =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => commandLine(pid).includes(`--config\0${slots}/${slot ?? ''}`))
    .map(Number);

/** @param {number} port */
const answers = (port) =>
  new Promise((done) => {
    const asked = request({
      ...{ host: '127.0.0.1', port, path: '/health/liveliness', agent: false, timeout: 5000 },
    });
    asked.once('response', (response) => {
      response.resume();
      done(response.statusCode === 200);
    });
    asked.once('error', () => done(false)).once('timeout', () => asked.destroy());
    asked.end();
  });

/**
 * @param {string} what
 * @param {() => boolean | Promise<unknown>} holds
 */
export async function until(what, holds) {
  const from = performance.now();
  while ((await holds()) !== true) {
    if (performance.now() - from > PATIENCE_MS) throw new Error(`waited too long: ${what}`);
    await sleep(LOOK_MS);
  }
}

/** @param {number} port */
export const untilAnswers = (port) => until(`LiteLLM at port ${port}`, () => answers(port));

/** @param {string} slots @param {Slot} slot */
export const untilGone = (slots, slot) =>
  until(`the end of LiteLLM in slot ${slot}`, () => litellmPids(slots, slot).length === 0);
