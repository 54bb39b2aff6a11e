import { AdminError, type KeyAdmin } from './admin.ts';
import { type KeyEvents, triggerOf } from './key-events.ts';

/** Codes of a rotation that was right to ask for and did not succeed. */
const FAILURES: ReadonlySet<string> = new Set(['publish_failed', 'store_unavailable', 'stopping']);

/** Counts the rotations that were asked for and not done; those that were done tell themselves. */
export function countingAdmin(admin: KeyAdmin, onRotation: KeyEvents['onRotation']): KeyAdmin {
  const counted = async <T>(by: string, job: Promise<T>): Promise<T> => {
    try {
      return await job;
    } catch (error) {
      const refused = error instanceof AdminError && !FAILURES.has(error.code);
      onRotation(triggerOf(by), refused ? 'refused' : 'failed');
      throw error;
    }
  };
  return {
    ...admin,
    rotate: (request, by) => counted(by, admin.rotate(request, by)),
    addClient: (request, by) => counted(by, admin.addClient(request, by)),
  };
}
