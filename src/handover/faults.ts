import type { SlotReport } from '../litellm/report.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { PlaceFailure, SlotSeen } from './observation.ts';
import type { HandoverFault, HandoverFaultCode, SlotLetter } from './views.ts';

const MOST_LINES = 20;
/** Of one of LiteLLM's last lines, in characters: a traceback's line may hold a whole request. */
const MOST_OF_LINE = 500;

export function lastWords(report: SlotReport | undefined): readonly string[] {
  return (report?.lines ?? []).slice(-MOST_LINES).map((line) => line.slice(0, MOST_OF_LINE));
}

type Words = readonly [message: string, hint: string];

const ITS_LAST_WORDS = "LiteLLM's last words say why; without them, the log of its container does";

/** What each fault is called, and what to do about it. */
function wordsOf(
  slot: SlotLetter,
  code: HandoverFaultCode,
  { masterKeyLine, report }: Pick<SlotSeen, 'masterKeyLine' | 'report'>,
  expectedPort: number,
): Words {
  const it = `LiteLLM in slot ${slot}`;
  const line = masterKeyLine === undefined ? 'config.yaml' : `config.yaml line ${masterKeyLine}`;
  const ownKey = masterKeyLine === undefined ? 'may set' : 'sets';
  const words: Record<HandoverFaultCode, Words> = {
    not_up: [`${it} did not answer in time`, ITS_LAST_WORDS],
    died: [`${it} ended again and again before it answered`, ITS_LAST_WORDS],
    died_after_switch: [`${it} took over, and died; the one before serves again`, ITS_LAST_WORDS],
    other_port: [
      `${it} listens on port ${report?.port}, and not on ${expectedPort}`,
      "let SIDECAR_UPSTREAM and the launcher's LAUNCHER_PORT_A and _B name the same ports, " +
        'and see that nothing else listens there',
    ],
    refuses_key: [
      `${it} refuses the key of its slot`,
      `${line} ${ownKey} master_key: let it be os.environ/LITELLM_MASTER_KEY, or remove the line`,
    ],
    accepts_any_key: [
      `${it} accepts a key that was made up`,
      'look for custom_auth or a master_key that is turned off in config.yaml',
    ],
    no_models: [
      'LiteLLM came up and lists no model',
      'is model_list spelt right in config.yaml, and is there a model in it?',
    ],
    not_litellm: [
      `something else than LiteLLM answers for slot ${slot}`,
      'look at what listens at its address in SIDECAR_UPSTREAM, and at SIDECAR_ROOT_PATH',
    ],
    config_unusable: ['the configuration cannot be copied', 'see SIDECAR_LITELLM_CONFIG'],
    disk: ['the slot cannot be written', 'see SIDECAR_SLOTS and SIDECAR_STATE'],
  };
  return words[code];
}

export function faultOf(
  code: HandoverFaultCode,
  slot: SlotLetter,
  seen: SlotSeen,
  expectedPort: number,
): HandoverFault {
  const [message, hint] = wordsOf(slot, code, seen, expectedPort);
  return { code, message, hint, lastWords: lastWords(seen.report) };
}

export const faultOfPlace = ({ code, message, hint }: PlaceFailure): HandoverFault => ({
  code,
  message,
  hint,
  lastWords: [],
});

/** How long a wrong answer must last: models may come from a database a moment after the start. */
export const LASTING_MS = 5000;
/** Starts of the same content: the third is no accident. */
const MOST_ATTEMPTS = 3;

/** The code of a look that shows LiteLLM up, and wrong. */
function wrongAnswer({ kind }: Verdict): HandoverFaultCode | undefined {
  return kind === 'good' || kind === 'silent' ? undefined : kind;
}

/**
 * What is wrong with a LiteLLM for certain, though its time is not over yet, so that nobody waits
 * minutes for the obvious; undefined: it may still come up.
 */
export function obviousFault(
  { report, look, portSince }: SlotSeen,
  expectedPort: number,
  now: number,
): HandoverFaultCode | undefined {
  if (look?.verdict.kind === 'good') return undefined;
  const attempt = report?.attempt ?? 1;
  if (attempt >= MOST_ATTEMPTS || (attempt >= 2 && report?.endedWith !== undefined)) return 'died';
  // Not at once: where a port is mapped to another one, both are right, and a look will say so.
  const isElsewhere = report?.port !== undefined && report.port !== expectedPort;
  if (isElsewhere && now - (portSince ?? now) >= LASTING_MS) return 'other_port';
  if (look === undefined || look.looks < 2 || now - look.since < LASTING_MS) return undefined;
  return wrongAnswer(look.verdict);
}

/** What to say when the time is over. */
export const faultAtEnd = ({ look }: SlotSeen): HandoverFaultCode =>
  (look && wrongAnswer(look.verdict)) ?? 'not_up';

/** How long one that took over must be silent to count as dead, in milliseconds. */
const SILENT_MS = 3000;

/** Whether one that took over died since it was found good. */
export function diedSince(
  { report, look, isUp }: SlotSeen,
  attempt: number | undefined,
  now: number,
): boolean {
  if (report?.endedWith !== undefined) return true;
  if (report !== undefined && attempt !== undefined && report.attempt > attempt) return true;
  // Neither alone: LiteLLM's one event loop stops for seconds, and traffic sees a restart late.
  return !isUp && look?.verdict.kind === 'silent' && now - look.since >= SILENT_MS;
}
