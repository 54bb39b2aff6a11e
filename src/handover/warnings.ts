import type { ConfigSeen } from './by-itself.ts';
import { type ConfigWord, configWord } from './config-word.ts';
import { saltKeyUnknown } from './database.ts';
import { faultOf, obviousFault } from './faults.ts';
import type { Limits } from './observation.ts';
import type { Runner } from './runner.ts';
import type { UpstreamView } from './views.ts';

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
