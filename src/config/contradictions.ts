import type { Config } from '../config.ts';
import type { Mistake } from './mistakes.ts';
import { SETTINGS } from './settings.ts';
import { showSize } from './size.ts';

/**
 * What is wrong between settings that are right by themselves; a field that is missing was wrong.
 */
export function contradictions(config: Partial<Config>): Mistake[] {
  return [samePort(config), smallTotal(config), secondPlace(config)].filter(
    (mistake) => mistake !== undefined,
  );
}

const EVERYWHERE: readonly unknown[] = ['0.0.0.0', '::'];

function samePort({ host, port, opsHost, opsPort }: Partial<Config>): Mistake | undefined {
  if (port === undefined || port === 0 || port !== opsPort) return undefined;
  if (host === undefined || opsHost === undefined) return undefined;
  if (host !== opsHost && ![host, opsHost].some((each) => EVERYWHERE.includes(each))) {
    return undefined;
  }
  return {
    name: SETTINGS.opsPort.name,
    found: `${port}, as for ${SETTINGS.port.name}`,
    allowed: 'a port of its own',
  };
}

function smallTotal({ replayBytes, replayTotalBytes }: Partial<Config>): Mistake | undefined {
  if (replayBytes === undefined || replayTotalBytes === undefined) return undefined;
  if (replayTotalBytes === 0 || replayTotalBytes >= replayBytes) return undefined;
  return {
    name: SETTINGS.replayTotalBytes.name,
    found: showSize(replayTotalBytes),
    allowed: `at least ${SETTINGS.replayBytes.name}, which is ${showSize(replayBytes)}, or 0`,
  };
}

/**
 * The second place is for a LiteLLM that a launcher starts, and a launcher is told by the slots.
 */
function secondPlace(config: Partial<Config>): Mistake | undefined {
  const [, second] = config.upstreams ?? [];
  if (second === undefined || !('slots' in config) || config.slots !== undefined) return undefined;
  return {
    name: SETTINGS.upstreams.name,
    found: 'two places',
    allowed: `one, or two with ${SETTINGS.slots.name}`,
    hint: 'to share the load of several LiteLLMs, name the load balancer in front of them',
  };
}
