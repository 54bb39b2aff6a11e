/**
 * Opens the keys of a state folder, rotates once, and ends itself without a word (SIGKILL) at the
 * n-th step on the disk after it was told to begin. Prints the new key if it comes so far.
 *
 * argv: state folder, publish target, the step (0: none), what to do
 */
import { openKeys } from '../../dist/rotation/keys.js';
import { createDisk } from '../../dist/store/disk.js';
import { createFileStore } from '../../dist/store/file-store.js';
import { createKeyFiles } from '../../dist/store/key-files.js';

const [, , state = '', target = '', step = '0', what = 'rotate'] = process.argv;
let armed = false;
let steps = 0;
const fault = () => {
  if (!armed) return;
  steps += 1;
  if (steps === Number(step)) process.kill(process.pid, 'SIGKILL');
};
const quiet = () => undefined;
const disk = createDisk({ fault });
const keys = await openKeys({
  config: {
    graceMs: 3_600_000,
    maxGraceMs: 86_400_000,
    rotateEveryMs: 0,
    publish: [{ client: 'master', kind: 'file', path: target, variable: '' }],
  },
  store: createFileStore({ folder: state, disk }),
  keyFiles: createKeyFiles(state, disk),
  places: { files: [], read: async () => ({ value: undefined }) },
  clock: { now: Date.now, elapsed: () => performance.now() },
  version: '0.0.0-test',
  events: new Proxy({}, { get: () => quiet }),
  traffic: { inFlight: () => 0, cut: () => 0 },
  mayWrite: () => true,
  fault,
});
const asked = { client: 'master', graceMs: undefined, force: true, idempotencyKey: undefined };
const say = (/** @type {object} */ line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const deed = async () => {
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
disk.close();
say({ steps });
