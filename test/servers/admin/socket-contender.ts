import { type AdminSocket, openAdminSocket } from '../../../src/servers/admin/socket.ts';

/**
 * A process that wants a state folder when it is told to: `{ at, path }` by IPC, `at` in
 * milliseconds. It answers with what came of it, and later with whether the folder is still its own.
 */
let held: AdminSocket | undefined;

const say = (message: object): void => void process.send?.(message);

process.on('message', async (order: 'still?' | { readonly at: number; readonly path: string }) => {
  if (order === 'still?') {
    say({ still: held?.isStillOurs() ?? false });
    return;
  }
  // Without a turn of the event loop, so that all begin in the same millisecond.
  while (Date.now() < order.at);
  try {
    held = await openAdminSocket({ path: order.path, onError: () => process.exit(1) });
    say({ result: 'won' });
  } catch (error) {
    const { kind, message } = error as Error & { readonly kind?: string };
    say({ result: kind === 'locked' ? 'locked' : message });
  }
});
process.on('disconnect', () => process.exit(0));
say({ ready: true });
