import type { SlotReport } from '../litellm/report.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { Secret } from '../secret.ts';
import type { Look } from './observation.ts';
import type { SlotLetter } from './views.ts';

export interface LooksOptions {
  /** One look; never throws; takes up to about 3 s. */
  readonly verify: (slot: SlotLetter, key: Secret) => Promise<Verdict>;
  readonly readReport: (slot: SlotLetter) => Promise<SlotReport | undefined>;
  /** The id of what stands in the slot; undefined: nothing does. */
  readonly idOf: (slot: SlotLetter) => string | undefined;
  readonly keyOf: (slot: SlotLetter) => Secret | undefined;
  /** Where the slot's config.yaml sets a master_key of its own. */
  readonly masterKeyLine: (slot: SlotLetter) => Promise<number | undefined>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A look ended; must not throw. */
  readonly onLook: () => void;
}

/** What is known of the LiteLLM that runs with a slot's present content. */
export interface Known {
  readonly look: Look | undefined;
  readonly report: SlotReport | undefined;
  readonly portSince: number | undefined;
  /** Of one that refuses the key of its slot, where its config.yaml says why. */
  readonly masterKeyLine: number | undefined;
}

/** What was seen of LiteLLM, slot by slot; it is forgotten when the slot's content changes. */
export interface Looks {
  of(slot: SlotLetter): Known;
  /** Begins a look where the last one is that old and none is under way; reads the report. */
  tend(slot: SlotLetter, everyMs: number): Promise<void>;
  /** What was seen before does not count. */
  forget(slot: SlotLetter): void;
}

interface Memory extends Known {
  readonly id: string;
  readonly lookedAt: number;
  readonly looking: boolean;
}

const NOTHING: Known = {
  look: undefined,
  report: undefined,
  portSince: undefined,
  masterKeyLine: undefined,
};

export function createLooks(options: LooksOptions): Looks {
  const { verify, idOf, keyOf, now, onLook } = options;
  const memories = new Map<SlotLetter, Memory>();

  /** Of the present content, and no other. */
  const recall = (slot: SlotLetter): Memory | undefined => {
    const id = idOf(slot);
    const memory = memories.get(slot);
    return memory !== undefined && memory.id === id ? memory : undefined;
  };
  const change = (slot: SlotLetter, of: Memory, changes: Partial<Memory>): void => {
    const memory = recall(slot);
    if (memory?.id === of.id) memories.set(slot, { ...memory, ...changes });
  };
  const lineOf = (slot: SlotLetter) => options.masterKeyLine(slot).catch(() => undefined);
  const lookAt = async (slot: SlotLetter, memory: Memory, key: Secret): Promise<void> => {
    change(slot, memory, { looking: true, lookedAt: now() });
    const verdict = await verify(slot, key).catch((): Verdict => ({ kind: 'silent' }));
    const refuses = verdict.kind === 'refuses_key';
    const masterKeyLine = refuses ? await lineOf(slot) : undefined;
    const before = recall(slot)?.look;
    const look = nextLook(before, verdict, now());
    change(slot, memory, { looking: false, look, masterKeyLine });
    onLook();
  };

  return {
    of: (slot) => recall(slot) ?? NOTHING,
    forget: (slot) => void memories.delete(slot),
    async tend(slot, everyMs) {
      const [id, key] = [idOf(slot), keyOf(slot)];
      if (id === undefined || key === undefined) return;
      const known = recall(slot);
      const memory = known ?? { ...NOTHING, id, lookedAt: -Infinity, looking: false };
      if (known === undefined) memories.set(slot, memory);
      if (!memory.looking && now() - memory.lookedAt >= everyMs) {
        void lookAt(slot, memory, key);
      }
      const report = await options.readReport(slot).catch(() => undefined);
      if (report === undefined || !isOf(report, id)) return;
      const portSince = report.port === undefined ? undefined : (memory.portSince ?? now());
      change(slot, memory, { report, portSince });
    },
  };
}

/** Who may not read the slot cannot know its id, and says why. */
const isOf = ({ slotId }: SlotReport, id: string): boolean => slotId === id || slotId === '';

function nextLook(before: Look | undefined, verdict: Verdict, now: number): Look {
  if (before?.verdict.kind !== verdict.kind) return { verdict, since: now, looks: 1 };
  return { verdict, since: before.since, looks: before.looks + 1 };
}
