import type { SlotReport } from '../litellm/report.ts';
import type { SlotName } from '../litellm/slots.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { ObservedSlot, PlaceFailure } from './observation.ts';
import type { HandoverFault, HandoverFaultCode } from './views.ts';

const MOST_LINES = 20;
/** Of one of LiteLLM's last lines, in characters: a traceback's line may hold a whole request. */
const MOST_OF_LINE = 500;

const lastWordsOf = (report: SlotReport | undefined): readonly string[] =>
  (report?.lines ?? []).slice(-MOST_LINES).map((line) => line.slice(0, MOST_OF_LINE));

type Words = readonly [message: string, hint: string];

const ITS_LAST_WORDS = "LiteLLM's last words say why; without them, the log of its container does";

/** What is said of a fault, and what to do about it. */
function wordsOf(
  slot: SlotName,
  code: HandoverFaultCode,
  { masterKeyLine, report }: Pick<ObservedSlot, 'masterKeyLine' | 'report'>,
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
      `something other than LiteLLM answers for slot ${slot}`,
      'look at what listens at its address in SIDECAR_UPSTREAM, and at SIDECAR_ROOT_PATH',
    ],
    config_unusable: ['the configuration cannot be copied', 'see SIDECAR_LITELLM_CONFIG'],
    disk: ['the slot cannot be written', 'see SIDECAR_SLOTS and SIDECAR_STATE'],
  };
  return words[code];
}

export function faultOf(
  code: HandoverFaultCode,
  slot: SlotName,
  seen: ObservedSlot,
  expectedPort: number,
): HandoverFault {
  const [message, hint] = wordsOf(slot, code, seen, expectedPort);
  return { code, message, hint, lastWords: lastWordsOf(seen.report) };
}

export const faultOfPlace = ({ code, message, hint }: PlaceFailure): HandoverFault => ({
  code,
  message,
  hint,
  lastWords: [],
});

/** How long a wrong answer must last: models may come from a database a moment after the start. */
const LASTING_MS = 5000;
/** Starts of the same content: the third is no accident. */
const MOST_ATTEMPTS = 3;

/** The fault of a LiteLLM that is up and answers wrongly; undefined: it is good, or silent. */
function wrongAnswer({ kind }: Verdict): HandoverFaultCode | undefined {
  return kind === 'good' || kind === 'silent' ? undefined : kind;
}

/**
 * What is wrong for certain with a LiteLLM whose time is not over yet, so that nobody waits minutes
 * for the obvious; undefined: this LiteLLM may still come up.
 */
export function obviousFault(
  { report, check, portSince }: ObservedSlot,
  expectedPort: number,
  now: number,
): HandoverFaultCode | undefined {
  if (check?.verdict.kind === 'good') return undefined;
  const attempt = report?.attempt ?? 1;
  if (attempt >= MOST_ATTEMPTS || (attempt >= 2 && report?.endedWith !== undefined)) return 'died';
  // Not at once: where a container's port is published as another one, LiteLLM reports the one and
  // SIDECAR_UPSTREAM names the other, and a good verdict will show that both are right.
  const isElsewhere = report?.port !== undefined && report.port !== expectedPort;
  if (isElsewhere && now - (portSince ?? now) >= LASTING_MS) return 'other_port';
  if (check === undefined || check.count < 2 || now - check.since < LASTING_MS) return undefined;
  return wrongAnswer(check.verdict);
}

/** The fault of a LiteLLM whose time is over. */
export const faultAtTimeout = ({ check }: ObservedSlot): HandoverFaultCode =>
  (check && wrongAnswer(check.verdict)) ?? 'not_up';

/** How long a LiteLLM that took over must be silent to count as dead, in milliseconds. */
const SILENT_MS = 3000;

/** Whether a LiteLLM that took over died since its start number `attempt` was found good. */
export function diedSince(
  { report, check, isUp }: ObservedSlot,
  attempt: number | undefined,
  now: number,
): boolean {
  if (report?.endedWith !== undefined) return true;
  if (report !== undefined && attempt !== undefined && report.attempt > attempt) return true;
  // Traffic and checks must agree. LiteLLM's one event loop stops for seconds, so that a check
  // alone finds it silent; and traffic alone sees late that LiteLLM is up again after a restart.
  return !isUp && check?.verdict.kind === 'silent' && now - check.since >= SILENT_MS;
}
