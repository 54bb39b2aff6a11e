import { isChanged, isRefused } from './by-itself.ts';
import type { Runner } from './runner.ts';
import type { UpstreamView } from './views.ts';

export type ConfigWord = UpstreamView['config'];

/** How what SIDECAR_LITELLM_CONFIG shows stands to what LiteLLM runs with. */
export function configWord(runner: Pick<Runner, 'state' | 'observe' | 'unasked'>): ConfigWord {
  const seen = runner.unasked.config();
  if (seen === undefined) return 'none';
  if ('error' in seen) return 'changed';
  const state = runner.state();
  const { folder } = runner.observe().slots[state.active];
  const running = typeof folder === 'object' ? folder.configDigest : undefined;
  if (!isChanged(seen, running)) return 'current';
  return isRefused(state, seen) ? 'refused' : 'changed';
}
