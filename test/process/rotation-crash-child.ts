/**
 * Opens the keys of a state folder, rotates once, and ends itself without a word (SIGKILL) at the
 * n-th step on the disk after it was told to begin. Prints the new key if it comes so far.
 *
 * argv: state folder, publish target, the step (0: none), what to do
 */

import type { Config } from '../../src/config/settings.ts';
import { NO_USE } from '../../src/keyring/client-limits.ts';
import { type KeyEvents, openKeys } from '../../src/rotation/keys.ts';
import { createFileStore } from '../../src/store/file-store.ts';
import { createKeyFiles } from '../../src/store/key-files.ts';
import { onDiskSteps } from '../support/disk-steps.ts';

const [, , state = '', target = '', step = '0', what = 'rotate'] = process.argv;
let armed = false;
let steps = 0;
onDiskSteps(state, () => {
  if (!armed) return;
  steps += 1;
  if (steps === Number(step)) process.kill(process.pid, 'SIGKILL');
});
const quiet = () => undefined;
const config = {
  graceMs: 3_600_000,
  maxGraceMs: 86_400_000,
  rotateEveryMs: 0,
  publish: [{ client: 'master', kind: 'file', path: target, variable: '' }],
};
const keys = await openKeys({
  // Keys read no other settings.
  config: config as unknown as Config,
  store: createFileStore({ folder: state }),
  keyFiles: createKeyFiles(state),
  places: { read: async () => ({ value: undefined }) },
  clock: { now: Date.now, elapsed: () => performance.now() },
  version: '0.0.0-test',
  events: new Proxy({}, { get: () => quiet }) as KeyEvents,
  traffic: { inFlight: () => 0, cut: () => 0, limitUse: () => NO_USE, unlisted: () => [] },
  mayWrite: () => true,
});
const asked = { client: 'master', graceMs: undefined, force: true, idempotencyKey: undefined };
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const deed = async (): Promise<void> => {
  if (what === 'revoke') {
    const revoked = { generation: 'master-1', force: true, compromised: false };
    await keys.admin.revoke(revoked, 'test');
    say({ revoked: 'master-1' });
  } else {
    const compromised = what === 'compromised';
    const { key } = await keys.admin.rotate({ ...asked, compromised }, 'test');
    say({ key });
  }
};
armed = true;
await deed();
await keys.close();
say({ steps });
