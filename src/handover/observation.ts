import type { SlotReport } from '../litellm/report.ts';
import type { SlotDigests, SlotLoad, SlotName } from '../litellm/slots.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { Secret } from '../secret.ts';

/** All that the plan is made from, beside what is stored. */
export interface Observation {
  readonly slots: { readonly [slot in SlotName]: ObservedSlot };
  /** Where this process sends new requests; undefined: this process does not serve yet. */
  readonly trafficAt: SlotName | undefined;
  /** Whether another handover waits for the end of the one under way. */
  readonly someoneWaits: boolean;
  /** When this process began; what happened before is known from what is stored alone. */
  readonly startedAt: number;
  /** When it looked again after it had been stopped; undefined: it never was. */
  readonly resumedAt?: number | undefined;
}

export interface ObservedSlot extends SlotOnDisk, CheckedSlot {
  /** Why this process could not write the slot. */
  readonly failure: PlaceFailure | undefined;
  readonly load: SlotLoad;
  readonly isUp: boolean;
  /**
   * How many exchanges were cut when this process ended what was left on the slot; undefined: it
   * did not end anything there.
   */
  readonly cut: number | undefined;
}

/** What stands on the disk for a slot. */
export interface SlotOnDisk {
  readonly folder: SlotDigests | 'none' | 'damaged';
  /** Of the slot's key in its file in the state folder; undefined: there is no such file. */
  readonly keyDigest: string | undefined;
}

/** What the checks of this process showed of the LiteLLM that runs with a slot's content. */
interface CheckedSlot {
  readonly check: Check | undefined;
  /** What the launcher reported of a LiteLLM with this content, and not with an earlier one. */
  readonly report: SlotReport | undefined;
  /** Since when that report names a port. */
  readonly portSince: number | undefined;
  /** Where LiteLLM refuses the key of its slot: the line of config.yaml that sets another key. */
  readonly masterKeyLine: number | undefined;
}

/** The last verdict on a LiteLLM. */
export interface Check {
  readonly verdict: Verdict;
  /** Since when each check came to a verdict of this kind, and how many checks did. */
  readonly since: number;
  readonly count: number;
}

/** Why a slot could not be written. */
export interface PlaceFailure {
  readonly code: 'config_unusable' | 'disk';
  readonly message: string;
  readonly hint: string;
}

/** How long a handover may take, in milliseconds; the ports are those of SIDECAR_UPSTREAM. */
export interface Limits {
  readonly handoverTimeoutMs: number;
  readonly probationMs: number;
  readonly drainMs: number;
  readonly ports: { readonly [slot in SlotName]: number };
}

/** Whether the folder of the slot holds the key that stands in the slot's key file. */
export const isIntact = ({ folder, keyDigest }: SlotOnDisk): boolean =>
  typeof folder === 'object' && folder.keyDigest === keyDigest;

export const isEmpty = ({ folder, keyDigest }: SlotOnDisk): boolean =>
  folder === 'none' && keyDigest === undefined;

export const NO_LOAD: SlotLoad = { requests: 0, websockets: 0, mcpSessions: 0 };

export const isIdle = ({ requests, websockets, mcpSessions }: SlotLoad): boolean =>
  requests + websockets + mcpSessions === 0;

/** The id of what stands in the slot; undefined: nothing that can be used stands there. */
export const contentIdOf = ({ folder }: SlotOnDisk): string | undefined =>
  typeof folder === 'object' ? folder.id : undefined;

/** The digest of the configuration that stands in the slot. */
export const configDigestOf = ({ folder }: SlotOnDisk): string | undefined =>
  typeof folder === 'object' ? folder.configDigest : undefined;

/** The models that LiteLLM listed, where the last verdict on it is good. */
export const goodModels = ({ check }: CheckedSlot): readonly string[] | undefined =>
  check?.verdict.kind === 'good' ? check.verdict.models : undefined;

/**
 * From when on this process counts the time of something that is stored. The time before this
 * process, or before it was stopped, does not count, because LiteLLM is not to blame for it; and an
 * instant that lies in the future, because the clock was set back, must not make the wait endless.
 */
export function countsFrom(
  storedAt: number,
  { startedAt, resumedAt = startedAt }: Pick<Observation, 'startedAt' | 'resumedAt'>,
  now: number,
): number {
  return storedAt <= now ? Math.max(storedAt, resumedAt) : resumedAt;
}

/** What was seen before a pause says nothing of how long that lasts. */
export const lastingSince = <Seen extends Pick<ObservedSlot, 'check' | 'portSince'>>(
  seen: Seen,
  resumedAt = 0,
): Seen => ({
  ...seen,
  check: seen.check && { ...seen.check, since: Math.max(seen.check.since, resumedAt) },
  portSince: seen.portSince && Math.max(seen.portSince, resumedAt),
});

interface SlotChecksOptions {
  /** Checks LiteLLM once; never throws; takes up to about 3 s. */
  readonly verify: (slot: SlotName, key: Secret) => Promise<Verdict>;
  readonly readReport: (slot: SlotName) => Promise<SlotReport | undefined>;
  /** The id of what stands in the slot; undefined: nothing stands there. */
  readonly contentIdOf: (slot: SlotName) => string | undefined;
  readonly keyOf: (slot: SlotName) => Secret | undefined;
  /** Where the slot's config.yaml sets a master_key of its own; never rejects. */
  readonly masterKeyLine: (slot: SlotName) => Promise<number | undefined>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

interface Memory extends CheckedSlot {
  readonly contentId: string;
  readonly firstSeenAt: number;
  readonly checkedAt: number;
  readonly isChecking: boolean;
}

const UNCHECKED: CheckedSlot = {
  check: undefined,
  report: undefined,
  portSince: undefined,
  masterKeyLine: undefined,
};

/**
 * Milliseconds after which a content is checked though no report says that its LiteLLM was started:
 * where there is no report at all (SIDECAR_REPORTS may not be set), and where one is left of the
 * content before, whose LiteLLM the launcher gives 5 s to let go of its port.
 */
const UNREPORTED_MS = { none: 3000, ofAnother: 20_000 };

/**
 * Checks LiteLLM slot by slot, and forgets what it saw when the content of the slot changes. Until
 * the launcher reports of the present content, the LiteLLM that answers may be that of the content
 * before, which is about to stop.
 */
export function createSlotChecks(options: SlotChecksOptions) {
  const { verify, keyOf, now } = options;
  const memories = new Map<SlotName, Memory>();

  /** What was seen of the slot's present content. */
  const recall = (slot: SlotName): Memory | undefined => {
    const memory = memories.get(slot);
    return memory?.contentId === options.contentIdOf(slot) ? memory : undefined;
  };
  /** Notes what was seen of a content, unless another content stands there by now. */
  const note = (slot: SlotName, { contentId }: Memory, seen: Partial<Memory>): void => {
    const memory = recall(slot);
    if (memory?.contentId === contentId) memories.set(slot, { ...memory, ...seen });
  };
  const checkOnce = async (slot: SlotName, memory: Memory, key: Secret): Promise<void> => {
    note(slot, memory, { isChecking: true, checkedAt: now() });
    const verdict = await verify(slot, key).catch((): Verdict => ({ kind: 'silent' }));
    const before = recall(slot)?.check;
    let masterKeyLine: number | undefined;
    if (verdict.kind === 'refuses_key') {
      // The same content has the same line, and a large one takes a while to look through.
      const isKnown = before?.verdict.kind === 'refuses_key';
      masterKeyLine = isKnown ? memory.masterKeyLine : await options.masterKeyLine(slot);
    }
    const check = nextCheck(before, verdict, now());
    note(slot, memory, { isChecking: false, check, masterKeyLine });
  };

  return {
    of: (slot: SlotName): CheckedSlot => recall(slot) ?? UNCHECKED,
    /** From now on the checks so far do not count. */
    forget: (slot: SlotName) => void memories.delete(slot),
    /**
     * Reads the launcher's report. Begins a check where the last one began `everyMs` ago and none
     * is under way; does not wait for its end, but calls `onChecked` then.
     */
    async refresh(slot: SlotName, everyMs: number, onChecked: () => void): Promise<void> {
      const [contentId, key] = [options.contentIdOf(slot), keyOf(slot)];
      if (contentId === undefined || key === undefined) return;
      const known = recall(slot);
      const fresh = { contentId, firstSeenAt: now(), checkedAt: -Infinity, isChecking: false };
      const memory = known ?? { ...UNCHECKED, ...fresh };
      if (known === undefined) memories.set(slot, memory);
      const report = await options.readReport(slot).catch(() => undefined);
      const isOwn = report !== undefined && isReportOf(report, contentId);
      if (isOwn) note(slot, memory, { report, portSince: portSinceIn(memory, report, now()) });
      const isDue = !memory.isChecking && now() - memory.checkedAt >= everyMs;
      if (isDue && (isOwn || mayCheckUnreported(memory, report, now()))) {
        void checkOnce(slot, memory, key).then(onChecked);
      }
    },
  };
}

const portSinceIn = (memory: Memory, { port }: SlotReport, now: number): number | undefined =>
  port === undefined ? undefined : (memory.portSince ?? now);

/** Whether a content is checked that no report speaks of, or only an earlier one did. */
const mayCheckUnreported = (memory: Memory, report: SlotReport | undefined, now: number): boolean =>
  memory.report !== undefined ||
  now - memory.firstSeenAt >= UNREPORTED_MS[report === undefined ? 'none' : 'ofAnother'];

/** A launcher that may not read the slot cannot know its id, and its report says why it may not. */
const isReportOf = ({ slotId }: SlotReport, contentId: string): boolean =>
  slotId === contentId || slotId === '';

function nextCheck(before: Check | undefined, verdict: Verdict, now: number): Check {
  if (before?.verdict.kind !== verdict.kind) return { verdict, since: now, count: 1 };
  return { verdict, since: before.since, count: before.count + 1 };
}
