import type { SlotReport } from '../litellm/report.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { Secret } from '../secret.ts';
import type { StoreError } from '../store/key-store.ts';
import type { HandoverView, SaltKeyView, SlotLetter, UpstreamView } from './views.ts';

/** What an operator may ask about LiteLLM. A verb that rejects (`HandoverError`) did nothing. */
export interface UpstreamAdmin {
  status(): UpstreamView;
  /** The latest first, at most 20. */
  history(): readonly HandoverView[];
  /** One by its id; the waiting one and those of the history, too. */
  handover(id: string): HandoverView;
  /**
   * Begins a handover to a new key, or lets it wait for the drain of the one before. Resolves as
   * soon as that is stored; `handover` tells how it goes on.
   */
  rotate(by: string): Promise<HandoverView>;
  reload(options: { readonly dryRun: boolean }, by: string): Promise<HandoverView>;
  /** A new LITELLM_SALT_KEY, for an installation in which nothing can be encrypted yet. */
  saltKey(by: string): Promise<SaltKeyView>;
}

export type HandoverErrorCode =
  /** Another one is under way, or waits already: `handover` says which. */
  | 'handover_under_way'
  | 'unknown_handover'
  /** No launcher, or one place only. */
  | 'no_slots'
  /** With a database, and without a word about a salt key. */
  | 'salt_key_unknown'
  /** A salt key is there, or may be: it must never change. */
  | 'salt_key_not_new'
  | 'nothing_to_reload'
  | 'state_unavailable'
  | 'stopping_upstream';

/** Why a verb did nothing. Holds no key. */
export class HandoverError extends Error {
  override readonly name = 'HandoverError';
  readonly code: HandoverErrorCode;
  readonly hints: readonly string[];
  /** Of `handover_under_way`. */
  readonly handover: HandoverView | undefined;

  constructor(
    code: HandoverErrorCode,
    message: string,
    options: { hints?: readonly string[]; handover?: HandoverView; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hints = options.hints ?? [];
    this.handover = options.handover;
  }
}

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

/** What is under way on a slot. */
export interface SlotLoad {
  /** Requests without an answer's end, streams included. */
  readonly requests: number;
  readonly websockets: number;
  /** MCP sessions that it issued and that were used lately. */
  readonly mcpSessions: number;
}

/** The traffic, as a handover sees it. No verb throws. */
export interface SlotTraffic {
  /** New requests go there from now on, with this key; what waited for the other goes there too. */
  switchTo(slot: SlotLetter, key: Secret): void;
  load(slot: SlotLetter): SlotLoad;
  /** Ends what is left on it: WebSockets with 1001, then all. Resolves to how many were cut. */
  end(slot: SlotLetter): Promise<number>;
  /** Whether LiteLLM answers there, as far as traffic and probe know; asked often. */
  isUp(slot: SlotLetter): boolean;
}

/** The traffic of a LiteLLM that somebody else runs, while its key changes. */
export interface KeyTraffic {
  /** Requests carry `first`; what LiteLLM refuses for it is sent again with `second`, if any. */
  useKeys(first: Secret, second: Secret | undefined): void;
}

/** The ways in which a handover learns of LiteLLM. None of them throws, but `masterKeyLine` may. */
export interface UpstreamLooks {
  /** One look with this key; takes up to about 3 s. */
  verify(slot: SlotLetter, key: Secret): Promise<Verdict>;
  /** What the launcher left of the LiteLLM that it started last in the slot. */
  readReport(slot: SlotLetter): Promise<SlotReport | undefined>;
  /** Whether LiteLLM says that it has a database; undefined: it does not say. */
  readiness(slot: SlotLetter): Promise<{ readonly database: boolean | undefined }>;
  /** The line of config.yaml, in this folder, that sets a master_key of its own. */
  masterKeyLine(folderOrFile: string): Promise<number | undefined>;
}
