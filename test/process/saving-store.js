// Saves in a loop and kills itself at a fault point: `node saving-store.js FOLDER POINT NTH`. Says
// the version of each save that it was told is done.
import { writeSync } from 'node:fs';
import { appendLine } from '../../dist/keyring/audit.js';
import { EMPTY_KEYRING } from '../../dist/keyring/keyring.js';
import { createFileStore } from '../../dist/store/file-store.js';

const [, , folder, point, nth] = process.argv;
let left = Number(nth);
const fault = (name) => {
  if (name !== point || --left > 0) return;
  process.kill(process.pid, 'SIGKILL');
};

const store = createFileStore({ folder, fault });
const stored = await store.load();
let { keyring, version } = stored ?? { keyring: EMPTY_KEYRING, version: 0 };
for (;;) {
  // The number of a save stands in it, so that one that is made of two would show.
  const next = version + 1;
  const entry = { at: '2026-01-01T00:00:00.000Z', by: 'sidecar', action: `saved-${next}` };
  const from = { ...keyring.audit, pending: [] };
  const audit = appendLine(appendLine(from, entry), { ...entry, action: `also-${next}` });
  keyring = { ...keyring, changedAt: next, audit };
  version = await store.save(keyring, version);
  writeSync(1, `${version}\n`);
}
