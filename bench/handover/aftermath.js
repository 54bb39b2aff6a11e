/** What is to be true of a gateway whose handovers have ended. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { litellmPids } from './litellm.js';
import { presentSlots } from './slot-folder.js';

const KEY = /sk-[A-Za-z0-9]{16,}/;

/** How long what was told to stop may take, and requests be held. */
const PATIENCE_MS = 60_000;

/** The files beside the state that hold a key, whatever they are called. @param {string} folder */
const keyFiles = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => KEY.test(readFileSync(path, 'utf8')));

const keyIn = (/** @type {string} */ path) => KEY.exec(readFileSync(path, 'utf8'))?.[0];

/** @param {import('./gateway.js').Gateway} gateway */
function leftOver({ slots, keys }) {
  const wrong = [];
  const present = presentSlots(slots);
  if (present.length !== 1) wrong.push(`slot folders: ${present.join(', ') || 'none'}`);
  const files = keyFiles(keys);
  const [slot] = present;
  const [file] = files;
  if (files.length !== 1) wrong.push(`files with a key in state/upstream: ${files.length}`);
  else if (slot && file && keyIn(file) !== keyIn(join(slots, slot, 'master.key'))) {
    wrong.push("the key in state/upstream is not the slot's");
  }
  const running = litellmPids(slots).length;
  if (running !== 1) wrong.push(`LiteLLMs that run: ${running}`);
  return wrong;
}

/**
 * One slot folder, one key file, one LiteLLM, and a client key that works.
 * @param {import('./gateway.js').Gateway} gateway
 * @returns {Promise<string[]>} what is not so, once it has had the time to become so
 */
export async function inspect(gateway) {
  const from = performance.now();
  for (;;) {
    const wrong = leftOver(gateway);
    if (wrong.length === 0 && !(await gateway.works())) wrong.push('the client key is refused');
    if (wrong.length === 0 || performance.now() - from > PATIENCE_MS) return wrong;
    await sleep(250);
  }
}
