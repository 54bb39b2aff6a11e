import type { HandoverView, SaltKeyView, UpstreamView } from './views.ts';

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
