import { isoOrNull } from '../config/units.ts';
import type { SlotName } from '../litellm/slots.ts';
import { isChanged, isRefused } from './automatic.ts';
import {
  HandoverError,
  noSlots,
  type SlotsConfig,
  type Trouble,
  type UpstreamAdmin,
  unknownHandover,
} from './contracts.ts';
import { handoverId, viewOf, viewOfEnded } from './describe.ts';
import { faultOf, obviousFault } from './faults.ts';
import { configDigestOf, type Limits, type Observation } from './observation.ts';
import type { Runner } from './runner.ts';
import type { SaltKeyGuard } from './salt-key.ts';
import type { UpstreamState } from './state.ts';
import type { HandoverView, SlotView, UpstreamView, UpstreamWarning } from './views.ts';

interface UpstreamAdminOptions {
  readonly config: SlotsConfig;
  readonly runner: Runner;
  readonly saltKey: SaltKeyGuard;
  readonly limits: Limits;
  readonly now: () => number;
}

/** The verbs of an operator where the sidecar tells a launcher what to run. */
export function createUpstreamAdmin(options: UpstreamAdminOptions): UpstreamAdmin {
  const { config, runner, saltKey } = options;
  const active = (): SlotName => runner.state().active;
  const history = (): readonly HandoverView[] =>
    [...runner.state().ended].reverse().map(viewOfEnded);
  const mustHaveSlots = (): void => {
    if (config.upstreams.length === 1)
      throw noSlots('LiteLLM has one place only, so nothing can take over');
  };

  return {
    status(asks = true) {
      // This status does not wait for the answer: the next one tells of it.
      if (asks && saltKey.database() === undefined) void saltKey.askDatabase(active());
      return upstreamStatus(options);
    },
    history,
    handover(id) {
      const { handover } = runner.state();
      if (handover !== undefined && handoverId(handover.number) === id) {
        return viewOf(handover, runner.observe().slots);
      }
      const waiting = runner.waiting();
      if (waiting?.id === id) return waiting;
      const found = history().find((each) => each.id === id);
      if (found === undefined) throw unknownHandover(id);
      return found;
    },
    async rotate(by) {
      mustHaveSlots();
      await saltKey.mayRotate(active());
      return await runner.ask('rotate', by);
    },
    async reload({ dryRun }, by) {
      mustHaveSlots();
      if (config.litellmConfig === undefined) {
        throw new HandoverError('nothing_to_reload', 'SIDECAR_LITELLM_CONFIG is not set', {
          hints: ["set it to LiteLLM's config.yaml, or to the folder that holds it"],
        });
      }
      return await runner.ask(dryRun ? 'dry-run' : 'reload', by);
    },
    saltKey: () => saltKey.newSaltKey(active()),
  };
}

/** All that is known of the slots, as JSON. */
function upstreamStatus(options: UpstreamAdminOptions): UpstreamView {
  const { runner, saltKey, now } = options;
  const {
    upstreams: urls,
    upstreamRotateEveryMs: everyMs,
    autoReload,
    saltKeySet,
  } = options.config;
  const state = runner.state();
  const { slots } = runner.observe();
  const { active, handover } = state;
  const last = state.ended.at(-1);
  const config = configStanding(runner);
  return {
    now: new Date(now()).toISOString(),
    mode: urls.length === 1 ? 'one-slot' : 'slots',
    slots: urls.map((url, at) => slotView(at === 0 ? 'a' : 'b', url, state, slots)),
    handover: handover === undefined ? null : viewOf(handover, slots),
    waiting: runner.waiting() ?? null,
    last: last === undefined ? null : viewOfEnded(last),
    verified: state.verifiedAt !== undefined,
    keyMadeAt: isoOrNull(state.keyMadeAt[active]),
    rotateEveryMs: everyMs === 0 ? null : everyMs,
    nextRotationAt: isoOrNull(runner.automatic.rotationAt(state)),
    config,
    autoReload,
    configWaitsUntil: config === 'changed' ? isoOrNull(runner.automatic.configWaitsUntil()) : null,
    database: saltKey.database() ?? null,
    saltKeySet,
    keyChange: null,
    warnings: warningsOf(options, config),
    next: nextSteps(options, config),
  };
}

/** How what SIDECAR_LITELLM_CONFIG names stands to what LiteLLM runs with. */
function configStanding({ automatic, state, observe }: UpstreamAdminOptions['runner']) {
  const seen = automatic.config();
  if (seen === undefined) return 'none';
  if (typeof seen !== 'string') return 'changed';
  const running = configDigestOf(observe().slots[state().active]);
  if (!isChanged(seen, running)) return 'current';
  return isRefused(state(), seen) ? 'refused' : 'changed';
}

function slotView(
  name: SlotName,
  { origin }: URL,
  state: UpstreamState,
  slots: Observation['slots'],
): SlotView {
  const { load, isUp, check, folder } = slots[name];
  const view = stateOf(name, state, folder !== 'none');
  const up = isUp || (view === 'candidate' && check?.verdict.kind === 'good');
  return { name, url: origin, state: view, up, ...load };
}

function stateOf(
  name: SlotName,
  { active, handover }: UpstreamState,
  hasFolder: boolean,
): SlotView['state'] {
  if (name === active) return 'active';
  if (handover !== undefined && hasFolder) return handover.to === name ? 'candidate' : 'draining';
  // A LiteLLM that was given up still stands there for a moment before its slot is cleared.
  return hasFolder ? 'draining' : 'empty';
}

/** What an operator should do next about the configuration. */
function nextSteps(
  { runner, config: { upstreams, autoReload } }: UpstreamAdminOptions,
  config: UpstreamView['config'],
): readonly string[] {
  const { verifiedAt, handover } = runner.state();
  if (handover !== undefined) return [];
  if (upstreams.length === 1)
    return config === 'changed'
      ? ['restart the sidecar: that gives LiteLLM the edited configuration']
      : [];
  if (config === 'refused') return ['mend the configuration, then `sidecar upstream reload`'];
  if (config !== 'changed' || autoReload) return [];
  return verifiedAt === undefined
    ? ['`sidecar upstream reload` puts the edited configuration in place']
    : ['`sidecar upstream reload` takes the edited configuration; --dry-run tries it first'];
}

/** What an operator of slots should mend, the worst first. */
function warningsOf(
  options: UpstreamAdminOptions,
  config: UpstreamView['config'],
): readonly UpstreamWarning[] {
  const { runner } = options;
  const trouble = runner.trouble();
  const notBegun = runner.automatic.notBegun();
  const all = [
    trouble && { code: 'disk', ...pickWords(trouble) },
    firstStartWarning(options),
    configWarning(options, config),
    scheduleWarning(options),
    notBegun && warningOf(notBegun),
    saltKeyWarning(options, notBegun),
  ];
  return all.filter((warning) => warning !== undefined);
}

// A trouble may be an error of the store, whose other fields are not for the answer.
const pickWords = ({ message, hint }: Trouble): Trouble => ({ message, hint });

const warningOf = ({ code, message, hints }: HandoverError): UpstreamWarning => ({
  code,
  message,
  hint: hints.join('; ') || 'sidecar upstream status',
});

/** The LiteLLM of a first start did not come up, and it is known why. */
function firstStartWarning({
  runner,
  limits,
  now,
}: UpstreamAdminOptions): UpstreamWarning | undefined {
  const { verifiedAt, active } = runner.state();
  if (verifiedAt !== undefined) return undefined;
  const slot = runner.observe().slots[active];
  const port = limits.ports[active];
  const { check } = slot;
  const isSilent = check?.verdict.kind === 'silent';
  const isLate = isSilent && now() - check.since >= limits.handoverTimeoutMs;
  const code = obviousFault(slot, port, now()) ?? (isLate ? 'not_up' : undefined);
  if (code === undefined) return undefined;
  const { message, hint, lastWords } = faultOf(code, active, slot, port);
  const last = lastWords.filter((line) => line.trim() !== '').slice(-WORDS_SHOWN);
  const words = last.length === 0 ? '' : `; its last words: ${last.join(' | ')}`;
  return { code, message: `${message}${words}`, hint };
}

/** How many of LiteLLM's last lines a status has room for. */
const WORDS_SHOWN = 3;

function configWarning(
  { runner }: UpstreamAdminOptions,
  config: UpstreamView['config'],
): UpstreamWarning | undefined {
  const seen = runner.automatic.config();
  if (seen instanceof Error) {
    const hint = 'until it can be copied, LiteLLM runs with the previous configuration';
    return { code: 'config_unusable', message: seen.message, hint };
  }
  if (config !== 'refused') return undefined;
  const tried = runner.state().ended.findLast(({ kind, fault }) => kind === 'reload' && fault);
  const why = tried?.fault === undefined ? '' : `: ${tried.fault.message}`;
  return {
    code: 'config_refused',
    message: `the configuration was tried and did not come up${why}`,
    hint: tried?.fault?.hint ?? 'mend the configuration; LiteLLM runs with the previous one',
  };
}

/** The schedule's last rotation failed, so that LiteLLM's key is older than it should be. */
function scheduleWarning({ runner }: UpstreamAdminOptions): UpstreamWarning | undefined {
  const last = runner.state().ended.findLast(({ kind }) => kind === 'rotate');
  if (last?.by !== 'schedule' || last.fault === undefined) return undefined;
  const { message, hint } = last.fault;
  const failed = `the scheduled rotation of LiteLLM's key failed, and is tried again: ${message}`;
  return { code: 'rotation_failed', message: failed, hint };
}

/** A rotation would be refused; silent where the schedule was refused for that already. */
function saltKeyWarning(
  { runner, saltKey }: UpstreamAdminOptions,
  notBegun: HandoverError | undefined,
): UpstreamWarning | undefined {
  const refusal = saltKey.rotationRefusal(runner.state().active);
  if (refusal === undefined || notBegun?.code === refusal.code) return undefined;
  return warningOf(refusal);
}
