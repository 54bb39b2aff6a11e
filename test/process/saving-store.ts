// Saves in a loop and kills itself at a step on the disk; argv: folder, step, the how manieth. Says
// the version of each save that it was told is done. A save changes only the date and the audit.
import { writeSync } from 'node:fs';
import { type AuditEntry, appendLine } from '../../src/keyring/audit.ts';
import { EMPTY_KEYRING } from '../../src/keyring/keyring.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { onDiskSteps } from '../support/disk-steps.ts';

const [, , folder = '', step, nth] = process.argv;
let left = Number(nth);
onDiskSteps(folder, (name) => {
  if (name !== step || --left > 0) return;
  process.kill(process.pid, 'SIGKILL');
});

const store = createFileStore({ folder });
const stored = await store.load();
let { keyring, version } = stored ?? { keyring: EMPTY_KEYRING, version: 0 };
for (;;) {
  // The number of a save stands in it, so that one that is made of two would show.
  const next = version + 1;
  const entry: AuditEntry = {
    at: '2026-01-01T00:00:00.000Z',
    by: 'sidecar',
    action: `saved-${next}`,
  };
  const from = { ...keyring.audit, pending: [] };
  const audit = appendLine(appendLine(from, entry), { ...entry, action: `also-${next}` });
  keyring = { ...keyring, changedAt: keyring.changedAt + 1, audit };
  version = await store.save(keyring, version);
  writeSync(1, `${version}\n`);
}
