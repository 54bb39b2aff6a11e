/** A sidecar of this bench: where its state is, and a way to start it again there. */
import { join } from 'node:path';
import { MAIN, startBuild } from '../peers/sidecar.js';

/**
 * A peer for the stage.
 * @param {{main?: string, env?: NodeJS.ProcessEnv}} [options] `main` of another build
 */
export function createSidecar({ main = MAIN, env = {} } = {}) {
  /** @type {import('../peers.js').Given | undefined} */
  let given;
  const state = (/** @type {string[]} */ ...names) => join(given?.folder ?? '', 'state', ...names);
  return {
    peer: {
      name: 'sidecar',
      about: '',
      version: () => '',
      start: (/** @type {import('../peers.js').Given} */ by) => {
        given = by;
        return startBuild({ ...by, main, env });
      },
    },
    /** With the same state folder, and the port that it had. @param {number} port */
    startAgain(port) {
      if (given === undefined) throw new Error('it was never started');
      return startBuild({ ...given, main, env, port });
    },
    socket: () => state('admin.sock'),
    keyFile: () => state('keys', 'master'),
  };
}
