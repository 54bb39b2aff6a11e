import type { Loops } from './openai-loops.ts';
import { type Stack, succeeded } from './stack.ts';

/** Lines of a log that tell of something that went wrong. */
const TELLING =
  /"outcome":|"level":"(?:warn|error|fatal)"|Exception in |^(?:\[[ab]\] )?[\w.]*(?:Error|Exception)\b/;

/**
 * Nothing where nothing failed. Else what failed, and what both sides logged of it, the sidecar and
 * LiteLLM, so that a rare failure need not come back to be understood.
 */
export async function whatFailed({ errors }: Loops, stack: Stack): Promise<readonly string[]> {
  if (errors.length === 0) return [];
  const logs = ['logs', '--no-color', '--no-log-prefix', 'sidecar', 'litellm'];
  const lines = succeeded(await stack.compose(logs)).split('\n');
  return [...errors, ...lines.filter((line) => TELLING.test(line))];
}
