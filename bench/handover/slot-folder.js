/** The sidecar's side of the contract with the launcher, for a LiteLLM that the sidecar never asked for. */
import { randomBytes, randomUUID } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** @typedef {import('./litellm.js').Slot} Slot */

/** The slots that are there. @param {string} slots @returns {Slot[]} */
export const presentSlots = (slots) =>
  /** @type {Slot[]} */ (readdirSync(slots).filter((name) => name === 'a' || name === 'b'));

/**
 * With a key of its own.
 * @param {string} slots
 * @param {Slot} slot
 * @param {string} config its config.yaml
 */
export function placeSlot(slots, slot, config) {
  const folder = join(slots, `.${slot}.bench`);
  mkdirSync(join(folder, 'config'), { recursive: true });
  writeFileSync(join(folder, 'id'), `${randomUUID()}\n`);
  writeFileSync(join(folder, 'master.key'), `sk-bench${randomBytes(20).toString('hex')}\n`);
  copyFileSync(config, join(folder, 'config', 'config.yaml'));
  renameSync(folder, join(slots, slot));
}

/** @param {string} slots @param {Slot} slot */
export function removeSlot(slots, slot) {
  const folder = join(slots, `.${slot}.bench`);
  renameSync(join(slots, slot), folder);
  rmSync(folder, { recursive: true });
}
