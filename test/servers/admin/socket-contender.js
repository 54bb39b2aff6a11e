/**
 * A process that wants a state folder when it is told to: `{ at, path }` by IPC, `at` in
 * milliseconds. It answers with what came of it, and later with whether the folder is still its own.
 * argv: the built servers/admin/socket.js.
 */
const { openAdminSocket } = await import(process.argv[2]);
let held;

process.on('message', async (order) => {
  if (order === 'still?') {
    process.send({ still: held?.isStillOurs() ?? false });
    return;
  }
  // Without a turn of the event loop, so that all begin in the same millisecond.
  while (Date.now() < order.at);
  try {
    held = await openAdminSocket({ path: order.path, onError: () => process.exit(1) });
    process.send({ result: 'won' });
  } catch (error) {
    process.send({ result: error.kind === 'locked' ? 'locked' : error.message });
  }
});
process.on('disconnect', () => process.exit(0));
process.send({ ready: true });
