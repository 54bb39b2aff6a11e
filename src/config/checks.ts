import { relative, resolve } from 'node:path';
import { type PublishTarget, showPlace } from './kinds.ts';
import type { AnySetting } from './setting.ts';
import { type Config, SETTINGS } from './settings.ts';
import type { Mistake } from './sources.ts';
import { showDuration, showSize } from './units.ts';

/**
 * What is wrong between settings that are right by themselves. A field that is missing was wrong
 * by itself, which is told already: nothing is said of it here. Relative paths start at `cwd`.
 */
export function contradictions(config: Partial<Config>, cwd = '/'): Mistake[] {
  const stateless = withoutState(config);
  // What is not possible at all is not told a second time for what it lacks.
  const told = new Set(stateless.map(({ name }) => name));
  const single = RULES.map((rule) => rule(config)).filter((mistake) => mistake !== undefined);
  return [
    ...stateless,
    ...[...single, ...publishMistakes(config, cwd)].filter(({ name }) => !told.has(name)),
  ];
}

/** A rule that is asked only where each of the fields that it looks at is there. */
function rule<F extends keyof Config>(
  fields: readonly F[],
  find: (config: Pick<Config, F>) => Mistake | undefined,
) {
  return (config: Partial<Config>) =>
    fields.every((field) => field in config) ? find(config as Pick<Config, F>) : undefined;
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

const ALL_ADDRESSES: readonly string[] = ['0.0.0.0', '::'];

/** Whether one LiteLLM can take over from another. */
const hasBothSlots = ({ upstreams, slots }: Pick<Config, 'upstreams' | 'slots'>): boolean =>
  upstreams.length === 2 && slots !== undefined;

const BOTH_SLOTS = `${SETTINGS.slots.name} and two places in ${SETTINGS.upstreams.name}`;

const RULES = [
  rule(['graceMs', 'maxGraceMs'], ({ graceMs, maxGraceMs }) => {
    if (graceMs <= maxGraceMs) return undefined;
    return {
      name: SETTINGS.graceMs.name,
      found: showDuration(graceMs),
      allowed: `at most ${SETTINGS.maxGraceMs.name}, which is ${showDuration(maxGraceMs)}`,
    };
  }),
  rule(['rotateEveryMs', 'publish'], ({ rotateEveryMs, publish }) => {
    if (rotateEveryMs === 0 || publish.length > 0) return undefined;
    const { name } = SETTINGS.publish;
    return {
      name: SETTINGS.rotateEveryMs.name,
      found: `${showDuration(rotateEveryMs)}, and no ${name}`,
      allowed: `a schedule together with ${name}`,
      hint:
        'a schedule that nobody hears of is a time bomb: ' +
        `publish the key with ${name}=file:… or rotate by hand`,
    };
  }),
  rule(['host', 'port', 'opsHost', 'opsPort'], ({ host, port, opsHost, opsPort }) => {
    const areApart =
      host !== opsHost && !ALL_ADDRESSES.some((all) => all === host || all === opsHost);
    if (port === 0 || port !== opsPort || areApart) return undefined;
    return {
      name: SETTINGS.opsPort.name,
      found: `${port}, as for ${SETTINGS.port.name}`,
      allowed: 'a port of its own',
    };
  }),
  rule(['replayBytes', 'replayTotalBytes'], ({ replayBytes, replayTotalBytes }) => {
    if (replayTotalBytes === 0 || replayTotalBytes >= replayBytes) return undefined;
    return {
      name: SETTINGS.replayTotalBytes.name,
      found: showSize(replayTotalBytes),
      allowed: `at least ${SETTINGS.replayBytes.name}, which is ${showSize(replayBytes)}, or 0`,
    };
  }),
  // The second upstream is for a LiteLLM that the launcher starts, and the launcher is told by the
  // folder of the slots.
  rule(['upstreams', 'slots'], ({ upstreams, slots }) => {
    if (upstreams.length === 1 || slots !== undefined) return undefined;
    return {
      name: SETTINGS.upstreams.name,
      found: 'two places',
      allowed: `one, or two with ${SETTINGS.slots.name}`,
      hint: 'to share the load of several LiteLLMs, name the load balancer in front of them',
    };
  }),
  // The sidecar cannot give another key to a LiteLLM that somebody else starts.
  rule(['upstreamRotateEveryMs', 'upstreams', 'slots'], (config) => {
    const { upstreamRotateEveryMs: every } = config;
    if (every === 0 || hasBothSlots(config)) return undefined;
    return {
      name: SETTINGS.upstreamRotateEveryMs.name,
      found: `${showDuration(every)}, and no second slot`,
      allowed: `a schedule together with ${BOTH_SLOTS}`,
    };
  }),
  rule(['autoReload', 'upstreams', 'slots', 'litellmConfig'], (config) => {
    const isUsable = hasBothSlots(config) && config.litellmConfig !== undefined;
    if (!config.autoReload || isUsable) return undefined;
    return {
      name: SETTINGS.autoReload.name,
      found: 'true, and nothing to reload',
      allowed: `true together with ${SETTINGS.litellmConfig.name}, ${BOTH_SLOTS}`,
    };
  }),
];

const NO_STATE = `${SETTINGS.state.name}=none`;

/** What wants a state folder; where there is none, a field is told of unless it is its default. */
const WANTS_STATE = {
  publish: 'a new key is published once the keyring is saved, and here no key is made',
  rotateEveryMs: 'the dates of a schedule are computed from what is stored',
  slots: "the keys of LiteLLM's slots, and how far a handover is, are stored",
  reports: 'it is the launcher of SIDECAR_SLOTS that writes them',
  upstreamRotateEveryMs: 'it wants slots, whose keys are stored',
  autoReload: 'it wants slots, whose keys are stored',
} as const satisfies Partial<Record<keyof Config, string>>;

/** All that a sidecar cannot do which keeps nothing. */
function withoutState(config: Partial<Config>): readonly Mistake[] {
  if (!('state' in config) || config.state !== undefined) return [];
  const wanting = Object.entries(WANTS_STATE).flatMap(([field, why]): Mistake[] => {
    if (!(field in config)) return [];
    const { name, kind, default: fallback }: AnySetting = SETTINGS[field as keyof Config];
    const shown = kind.show(config[field as keyof Config]);
    if (shown === '' || shown === fallback) return [];
    return [{ name, found: `${shown}, beside ${NO_STATE}`, allowed: 'nothing there', hint: why }];
  });
  const nobody = 'declaredKey' in config && 'clientsFile' in config && !hasClients(config);
  if (!nobody) return wanting;
  const { declaredKey, clientsFile } = SETTINGS;
  return [
    ...wanting,
    {
      name: SETTINGS.state.name,
      found: `none, and no client: neither ${declaredKey.name} nor ${clientsFile.name} is set`,
      allowed: 'none together with one of the two, or the path of a folder',
      hint: 'a key that is made would be kept nowhere: name a file with clients, or declare a key',
    },
  ];
}

const hasClients = ({ declaredKey, clientsFile }: Partial<Config>): boolean =>
  declaredKey !== undefined || clientsFile !== undefined;

/** Publish targets that cannot stand beside each other, or where they are. */
function publishMistakes(
  { publish = [], state }: Partial<Config>,
  cwd: string,
): readonly Mistake[] {
  const targets = publish.map((target) => ({ ...target, path: resolve(cwd, target.path) }));
  return targets.flatMap((target, at) => {
    const mistake =
      clashOfTargets(target, targets.slice(0, at)) ??
      (state === undefined ? undefined : insideState(target, resolve(cwd, state)));
    return mistake === undefined ? [] : [mistake];
  });
}

function clashOfTargets(
  target: PublishTarget,
  before: readonly PublishTarget[],
): Mistake | undefined {
  const same = before.filter(({ path }) => path === target.path);
  if (same.some(({ variable }) => variable === target.variable)) {
    return badTarget(target, 'twice', 'each file, and each variable of a dotenv file, once');
  }
  if (same.every(({ kind }) => kind === target.kind)) return undefined;
  return badTarget(target, 'which is another kind of target, too', 'a file to be one of the two');
}

/** The sidecar's own files in its state folder: a key that is written there destroys them. */
const STATE_FILES = /^(?:keys|upstream)(?:\/|$)|^(?:keyring|audit|usage|admin)\b[^/]*$/;

function insideState(target: PublishTarget, state: string): Mistake | undefined {
  if (!STATE_FILES.test(relative(state, target.path))) return undefined;
  return badTarget(
    target,
    `where the sidecar keeps what is its own (${SETTINGS.state.name})`,
    'a file elsewhere; the key of each client is in the state folder anyway',
  );
}

const badTarget = (target: PublishTarget, why: string, allowed: string): Mistake => ({
  name: SETTINGS.publish.name,
  found: `${showPlace(target)}, ${why}`,
  allowed,
});
