import { relative, resolve } from 'node:path';
import { type PublishTarget, showPlace } from './kinds.ts';
import { type Config, SETTINGS } from './settings.ts';
import type { Mistake } from './sources.ts';
import { showDuration, showSize } from './units.ts';

/** What the sidecar keeps in its state folder: a key that is written there destroys it. */
const OURS = /^(?:keys|upstream)(?:\/|$)|^(?:keyring|audit|usage|admin)\b[^/]*$/;

/** Publish targets that cannot stand beside each other, or where they are. */
export function publishMistakes(
  { publish = [], state }: Partial<Config>,
  cwd: string,
): readonly Mistake[] {
  const targets = publish.map((target) => ({ ...target, path: resolve(cwd, target.path) }));
  return targets.flatMap((target, at) => {
    const fault =
      clash(target, targets.slice(0, at)) ??
      (state === undefined ? undefined : overState(target, resolve(cwd, state)));
    return fault === undefined ? [] : [fault];
  });
}

const mistake = (target: PublishTarget, why: string, allowed: string): Mistake => ({
  name: SETTINGS.publish.name,
  found: `${showPlace(target)}, ${why}`,
  allowed,
});

function clash(target: PublishTarget, before: readonly PublishTarget[]): Mistake | undefined {
  const same = before.filter(({ path }) => path === target.path);
  if (same.some(({ variable }) => variable === target.variable)) {
    return mistake(target, 'twice', 'each file, and each variable of a dotenv file, once');
  }
  if (same.every(({ kind }) => kind === target.kind)) return undefined;
  return mistake(target, 'which is another kind of target, too', 'a file to be one of the two');
}

function overState(target: PublishTarget, state: string): Mistake | undefined {
  if (!OURS.test(relative(state, target.path))) return undefined;
  return mistake(
    target,
    `where the sidecar keeps what is its own (${SETTINGS.state.name})`,
    'a file elsewhere; the key of each client is in the state folder anyway',
  );
}

/**
 * What is wrong between settings that are right by themselves; a field that is missing was wrong.
 * Relative paths start at `cwd`.
 */
export function contradictions(config: Partial<Config>, cwd = '/'): Mistake[] {
  const single = [
    longGrace(config),
    unheardSchedule(config),
    samePort(config),
    smallTotal(config),
    secondPlace(config),
    idleSchedule(config),
    idleReload(config),
  ];
  return [...single.filter((mistake) => mistake !== undefined), ...publishMistakes(config, cwd)];
}

function longGrace({ graceMs, maxGraceMs }: Partial<Config>): Mistake | undefined {
  if (graceMs === undefined || maxGraceMs === undefined || graceMs <= maxGraceMs) return undefined;
  return {
    name: SETTINGS.graceMs.name,
    found: showDuration(graceMs),
    allowed: `at most ${SETTINGS.maxGraceMs.name}, which is ${showDuration(maxGraceMs)}`,
  };
}

function unheardSchedule({ rotateEveryMs, publish }: Partial<Config>): Mistake | undefined {
  if (rotateEveryMs === undefined || rotateEveryMs === 0 || publish?.length !== 0) return undefined;
  const { name } = SETTINGS.publish;
  return {
    name: SETTINGS.rotateEveryMs.name,
    found: `${showDuration(rotateEveryMs)}, and no ${name}`,
    allowed: `a schedule together with ${name}`,
    hint:
      'a schedule that nobody hears of is a time bomb: ' +
      `publish the key with ${name}=file:… or rotate by hand`,
  };
}

/** A warning, where a key is replaced before the clients of the one before it had their grace. */
export function shortInterval({ rotateEveryMs, graceMs }: Config): string[] {
  if (rotateEveryMs === 0 || rotateEveryMs >= graceMs) return [];
  const [every, grace] = [SETTINGS.rotateEveryMs.name, SETTINGS.graceMs.name];
  return [
    `${every} (${showDuration(rotateEveryMs)}) is shorter than ${grace} ` +
      `(${showDuration(graceMs)}): several keys are in their grace at a time, and 8 are the most`,
  ];
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

/** Whether one LiteLLM can take over from another. */
const hasBothSlots = ({ upstreams, slots }: Partial<Config>): boolean =>
  upstreams?.length === 2 && slots !== undefined;

const BOTH_SLOTS = `${SETTINGS.slots.name} and two places in ${SETTINGS.upstreams.name}`;

/** A LiteLLM of somebody else's is not ours to give another key. */
function idleSchedule(config: Partial<Config>): Mistake | undefined {
  const { upstreamRotateEveryMs: every, upstreams } = config;
  if (every === undefined || every === 0 || upstreams === undefined || !('slots' in config)) {
    return undefined;
  }
  if (hasBothSlots(config)) return undefined;
  return {
    name: SETTINGS.upstreamRotateEveryMs.name,
    found: `${showDuration(every)}, and no second slot`,
    allowed: `a schedule together with ${BOTH_SLOTS}`,
  };
}

function idleReload(config: Partial<Config>): Mistake | undefined {
  if (config.autoReload !== true || config.upstreams === undefined) return undefined;
  if (!('slots' in config) || !('litellmConfig' in config)) return undefined;
  if (hasBothSlots(config) && config.litellmConfig !== undefined) return undefined;
  return {
    name: SETTINGS.autoReload.name,
    found: 'true, and nothing to reload',
    allowed: `true together with ${SETTINGS.litellmConfig.name}, ${BOTH_SLOTS}`,
  };
}
