import type { StoreError } from '../store/key-store.ts';
import type { HandoverError } from './admin.ts';
import type { HandoverView, SlotLetter } from './views.ts';

/** What is told of LiteLLM's slots as it happens, for log, metrics and audit; none may throw. */
export interface HandoverEvents {
  /** A handover is at a step: it was stored, and is about to be acted on. */
  onStep(handover: HandoverView): void;
  /** `endedAt` less `startedAt` is how long it took; `fault.code` is a label. */
  onEnd(handover: HandoverView): void;
  /** The LiteLLM of a first start came up. */
  onVerified(slot: SlotLetter): void;
  /** The state cannot be stored; undefined: it can again. */
  onStore(error: StoreError | undefined): void;
  /** What must be done on the disk failed, and is tried again; undefined: it succeeded. */
  onTrouble(trouble: Trouble | undefined): void;
  /** What was to begin by itself did not; it is tried again. */
  onNotBegun(by: 'schedule' | 'config', error: HandoverError): void;
}

export interface Trouble {
  readonly message: string;
  readonly hint: string;
}
