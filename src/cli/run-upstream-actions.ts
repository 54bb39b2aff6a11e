import type { HandoverView } from '../handover/views.ts';
import type { AdminClient } from './admin-client.ts';
import type { HandoverFlags, UpstreamActions } from './program-upstream.ts';
import type { Scene } from './run-actions.ts';
import { createAsk } from './run-asking.ts';

/** What the commands do that are about LiteLLM's own key and configuration. */
export function createUpstreamActions(scene: Scene): UpstreamActions {
  const ask = createAsk(scene);
  const load = () => import('./upstream.ts');
  const handOver = (
    { wait = false, json = false }: HandoverFlags,
    begin: (api: AdminClient) => Promise<HandoverView>,
  ): Promise<void> =>
    ask(json, async (session) => {
      const handover = await import('./handover.ts');
      const { api } = session;
      return handover.handOver(session, () => begin(api), { wait, json }, scene.interrupts);
    });
  return {
    upstreamStatus: ({ json = false }) =>
      ask(json, async (session) => (await load()).upstreamStatus(session, json)),
    upstreamRotate: (flags) => handOver(flags, (api) => api.rotateUpstream()),
    upstreamReload: (flags) => handOver(flags, (api) => api.reloadUpstream(flags.dryRun ?? false)),
    upstreamHistory: ({ json = false }) =>
      ask(json, async (session) => (await load()).upstreamHistory(session, json)),
    saltKey: ({ json = false }) =>
      ask(json, async (session) => (await load()).saltKey(session, json)),
  };
}
