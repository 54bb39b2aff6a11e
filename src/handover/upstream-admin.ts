import { generateKey } from '../keyring/key.ts';
import { type ConfigSeen, isChanged, isRefused } from './automatic.ts';
import { HandoverError, type UpstreamAdmin } from './contracts.ts';
import { handoverId, viewOf, viewOfEnded } from './describe.ts';
import { faultOf, obviousFault } from './faults.ts';
import type { Limits, Observation } from './observation.ts';
import { unknownHandover } from './requests.ts';
import type { Runner } from './runner.ts';
import type { UpstreamState } from './state.ts';
import type { HandoverView, SlotLetter, SlotView, UpstreamView } from './views.ts';

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

/** Whether LiteLLM has a database, as it says itself. */
export interface Database {
  /** As it said last; undefined: it has not said. */
  known(): boolean | undefined;
  /** Asks it, one question at a time; never rejects. */
  ask(slot: SlotLetter): Promise<boolean | undefined>;
}

export function createDatabase(
  readiness: (slot: SlotLetter) => Promise<{ readonly database: boolean | undefined }>,
): Database {
  let known: boolean | undefined;
  let asking: Promise<boolean | undefined> | undefined;
  const ask = async (slot: SlotLetter): Promise<boolean | undefined> => {
    const { database } = await readiness(slot).catch(() => ({ database: undefined }));
    known = database ?? known;
    return database;
  };
  return {
    known: () => known,
    ask(slot) {
      asking ??= ask(slot).finally(() => {
        asking = undefined;
      });
      return asking;
    },
  };
}

/**
 * What stands in the way of another master key. Without a LITELLM_SALT_KEY LiteLLM encrypts what it
 * stores with its master key (litellm/proxy/common_utils/encrypt_decrypt_utils.py, _get_salt_key),
 * by the same derivation: a salt key that equals the master key of now reads all that is stored.
 * Its own way, LITELLM_MIGRATE_FROM_MASTER_KEY, re-encrypts at a start, while the LiteLLM before
 * still serves from the same database and could read none of it any more.
 */
export const saltKeyUnknown = (database: boolean | undefined, keyFile: string): HandoverError =>
  new HandoverError(
    'salt_key_unknown',
    database === undefined
      ? 'LiteLLM does not say whether it has a database, and what it stores there may be ' +
          'encrypted with its master key'
      : 'LiteLLM has a database, and nothing says that it has a LITELLM_SALT_KEY: with another ' +
          'master key it could not read the credentials that it stored',
    {
      hints: [
        ...(database === undefined ? ['ask again when LiteLLM answers'] : []),
        'if LiteLLM has a LITELLM_SALT_KEY: set SIDECAR_LITELLM_SALT_KEY=set',
        'if it has none: set its LITELLM_SALT_KEY, for good, to the master key that it runs with ' +
          `now (it stands in ${keyFile}), restart it, then set SIDECAR_LITELLM_SALT_KEY=set`,
      ],
    },
  );

/** Why no salt key is made. */
export const saltKeyNotNew = (isSet: boolean, database: boolean | undefined): HandoverError =>
  new HandoverError(
    'salt_key_not_new',
    isSet
      ? 'LiteLLM has a LITELLM_SALT_KEY already, by SIDECAR_LITELLM_SALT_KEY: it must never change'
      : database === undefined
        ? 'LiteLLM does not say whether it has a database: a new salt key could lock it out'
        : 'LiteLLM has a database: what is stored there is encrypted already, and another key ' +
          'could not read it',
    {
      hints: isSet
        ? []
        : database === undefined
          ? ['ask again when LiteLLM answers']
          : ['set LITELLM_SALT_KEY to the master key that LiteLLM runs with now, for good'],
    },
  );

export type Warning = UpstreamView['warnings'][number];

export interface WarningSources {
  readonly runner: Runner;
  readonly limits: Limits;
  readonly now: () => number;
  readonly database: () => boolean | undefined;
  readonly saltKeySet: boolean;
  /** Where the key of the active slot stands. */
  readonly keyFile: () => string;
}

/** What an operator of slots should mend, the worst first. */
export function warningsOf(sources: WarningSources): readonly Warning[] {
  const { runner } = sources;
  const trouble = runner.trouble();
  const notBegun = runner.unasked.notBegun();
  return [
    ...(trouble === undefined ? [] : [{ code: 'disk', ...wordsOf(trouble) }]),
    ...firstStart(sources),
    ...ofConfig(sources),
    ...failedSchedule(sources),
    ...(notBegun === undefined
      ? []
      : [{ code: notBegun.code, message: notBegun.message, hint: hintOf(notBegun.hints) }]),
    ...saltKey(sources, notBegun?.code),
  ];
}

const wordsOf = ({ message, hint }: { message: string; hint: string }) => ({ message, hint });
const hintOf = (hints: readonly string[]): string => hints.join('; ') || 'sidecar upstream status';

/** A LiteLLM that never came up, and of which it is known why. */
function firstStart({ runner, limits, now }: WarningSources): readonly Warning[] {
  const { verifiedAt, active } = runner.state();
  if (verifiedAt !== undefined) return [];
  const slot = runner.observe().slots[active];
  const port = limits.ports[active];
  const { look } = slot;
  const isLate = look?.verdict.kind === 'silent' && now() - look.since >= limits.handoverTimeoutMs;
  const code = obviousFault(slot, port, now()) ?? (isLate ? 'not_up' : undefined);
  if (code === undefined) return [];
  const { message, hint, lastWords } = faultOf(code, active, slot, port);
  const last = lastWords.filter((line) => line.trim() !== '').slice(-WORDS_SHOWN);
  const words = last.length === 0 ? '' : `; its last words: ${last.join(' | ')}`;
  return [{ code, message: `${message}${words}`, hint }];
}

/** Of LiteLLM's last lines: as many as a status has room for. */
const WORDS_SHOWN = 3;

function ofConfig({ runner }: WarningSources): readonly Warning[] {
  const seen: ConfigSeen | undefined = runner.unasked.config();
  const unreadable = seen !== undefined && 'error' in seen ? seen.error : undefined;
  if (unreadable !== undefined) {
    const hint = 'until it can be copied, LiteLLM runs with the configuration before';
    return [{ code: 'config_unusable', message: unreadable, hint }];
  }
  const word: ConfigWord = configWord(runner);
  if (word !== 'refused') return [];
  const tried = runner.state().ended.findLast(({ kind, fault }) => kind === 'reload' && fault);
  const why = tried?.fault === undefined ? '' : `: ${tried.fault.message}`;
  return [
    {
      code: 'config_refused',
      message: `the configuration was tried and did not come up${why}`,
      hint: tried?.fault?.hint ?? 'mend it; LiteLLM runs with the one before',
    },
  ];
}

/** The key that should be another one by now. */
function failedSchedule({ runner }: WarningSources): readonly Warning[] {
  const last = runner.state().ended.findLast(({ kind }) => kind === 'rotate');
  if (last?.by !== 'schedule' || last.fault === undefined) return [];
  const { message, hint } = last.fault;
  const failed = `the scheduled rotation of LiteLLM's key failed, and is tried again: ${message}`;
  return [{ code: 'rotation_failed', message: failed, hint }];
}

function saltKey(sources: WarningSources, told: string | undefined): readonly Warning[] {
  const { database, saltKeySet, keyFile } = sources;
  if (saltKeySet || database() !== true || told === 'salt_key_unknown') return [];
  const { code, message, hints } = saltKeyUnknown(true, keyFile());
  return [{ code, message, hint: hintOf(hints) }];
}

export interface StatusSources extends WarningSources {
  readonly urls: readonly [URL, ...URL[]];
  readonly everyMs: number;
  readonly autoReload: boolean;
}

const iso = (at: number): string => new Date(at).toISOString();
export const isoOrNull = (at: number | undefined): string | null =>
  at === undefined ? null : iso(at);

/** All that is known of the slots, as JSON. */
export function statusOf(sources: StatusSources): UpstreamView {
  const { runner, urls, everyMs, autoReload, now } = sources;
  const state = runner.state();
  const seen = runner.observe();
  const { active, handover } = state;
  const last = state.ended.at(-1);
  const config = configWord(runner);
  return {
    now: iso(now()),
    mode: urls.length === 1 ? 'one-slot' : 'slots',
    slots: urls.map((url, at) => slotView(at === 0 ? 'a' : 'b', url, state, seen)),
    handover: handover === undefined ? null : viewOf(handover, seen),
    waiting: runner.waiting() ?? null,
    last: last === undefined ? null : viewOfEnded(last),
    verified: state.verifiedAt !== undefined,
    keyMadeAt: isoOrNull(state.keyMadeAt[active]),
    rotateEveryMs: everyMs === 0 ? null : everyMs,
    nextRotationAt: isoOrNull(runner.unasked.nextRotationAt(state)),
    config,
    autoReload,
    database: sources.database() ?? null,
    saltKeySet: sources.saltKeySet,
    keyChange: null,
    warnings: warningsOf(sources),
    next: nextSteps(sources, config),
  };
}

function slotView(
  name: SlotLetter,
  { origin }: URL,
  state: UpstreamState,
  { slots }: Observation,
): SlotView {
  const { load, isUp, look } = slots[name];
  const view = stateOf(name, state, slots[name].folder !== 'none');
  const up = isUp || (view === 'candidate' && look?.verdict.kind === 'good');
  return { name, url: origin, state: view, up, ...load };
}

function stateOf(
  name: SlotLetter,
  { active, handover }: UpstreamState,
  hasFolder: boolean,
): SlotView['state'] {
  if (name === active) return 'active';
  if (handover !== undefined && hasFolder) return handover.to === name ? 'candidate' : 'draining';
  // One that was given up, in the moment before it is gone.
  return hasFolder ? 'draining' : 'empty';
}

function nextSteps({ runner, urls, autoReload }: StatusSources, config: UpstreamView['config']) {
  const { verifiedAt, handover } = runner.state();
  if (handover !== undefined) return [];
  if (urls.length === 1) return config === 'changed' ? ['restart the sidecar to place it'] : [];
  if (config === 'refused') return ['mend the configuration, then `sidecar upstream reload`'];
  if (config !== 'changed' || autoReload) return [];
  return verifiedAt === undefined
    ? ['`sidecar upstream reload` puts the edited configuration in place']
    : ['`sidecar upstream reload --dry-run` tries the edited configuration, then without it'];
}

export interface UpstreamAdminOptions extends Omit<StatusSources, 'database'> {
  readonly database: Database;
  /** Whether SIDECAR_LITELLM_CONFIG is set. */
  readonly hasConfig: boolean;
  /** @throws HandoverError where LiteLLM's key may not be changed */
  readonly mayRotate: () => Promise<void>;
}

/** The verbs of an operator where the sidecar tells a launcher what to run. */
export function createUpstreamAdmin(options: UpstreamAdminOptions): UpstreamAdmin {
  const { runner, database, saltKeySet, urls, hasConfig, mayRotate } = options;
  const sources: StatusSources = { ...options, database: database.known };
  const active = (): SlotLetter => runner.state().active;
  const history = (): readonly HandoverView[] =>
    [...runner.state().ended].reverse().map(viewOfEnded);
  const mustHaveSlots = (): void => {
    if (urls.length === 1) throw noSlots('LiteLLM has one place only, so nothing can take over');
  };

  return {
    status() {
      // For the next time: it is never waited for here.
      if (database.known() === undefined) void database.ask(active());
      return statusOf(sources);
    },
    history,
    handover(id) {
      const { handover } = runner.state();
      if (handover !== undefined && handoverId(handover.number) === id) {
        return viewOf(handover, runner.observe());
      }
      const waiting = runner.waiting();
      if (waiting?.id === id) return waiting;
      const found = history().find((each) => each.id === id);
      if (found === undefined) throw unknownHandover(id);
      return found;
    },
    async rotate(by) {
      mustHaveSlots();
      await mayRotate();
      return await runner.ask('rotate', by);
    },
    async reload({ dryRun }, by) {
      mustHaveSlots();
      if (!hasConfig) {
        throw new HandoverError('nothing_to_reload', 'SIDECAR_LITELLM_CONFIG is not set', {
          hints: ["set it to LiteLLM's config.yaml, or to the folder that holds it"],
        });
      }
      return await runner.ask(dryRun ? 'dry-run' : 'reload', by);
    },
    saltKey: () => newSaltKey(saltKeySet, () => database.ask(active())),
  };
}

/** @throws HandoverError where something may be encrypted already */
export async function newSaltKey(
  isSet: boolean,
  ask: () => Promise<boolean | undefined>,
): Promise<{ readonly saltKey: string }> {
  const has = isSet ? undefined : await ask();
  if (isSet || has !== false) throw saltKeyNotNew(isSet, has);
  return { saltKey: generateKey() };
}

/** Whether LiteLLM's key may be changed. @throws HandoverError */
export async function mayRotate(
  saltKeySet: boolean,
  ask: () => Promise<boolean | undefined>,
  keyFile: () => string,
): Promise<void> {
  if (saltKeySet) return;
  const has = await ask();
  if (has !== false) throw saltKeyUnknown(has, keyFile());
}

export const noSlots = (message: string): HandoverError =>
  new HandoverError('no_slots', message, {
    hints: ['see SIDECAR_SLOTS, and two places in SIDECAR_UPSTREAM'],
  });
