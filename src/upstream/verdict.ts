/** What a LiteLLM shows of itself when it is asked with the key that it was given. */
export type Verdict =
  /** It lists these models with its key, and refuses one that was made up. */
  | { readonly kind: 'good'; readonly models: readonly string[] }
  /** Nothing listens, or nothing was said in time. */
  | { readonly kind: 'silent' }
  /** It answers, and does not take the key that stands in its slot. */
  | { readonly kind: 'refuses_key'; readonly status: number }
  | { readonly kind: 'accepts_any_key' }
  | { readonly kind: 'no_models' }
  /** It answers, and not as LiteLLM does; the status is 0 where that is no HTTP. */
  | { readonly kind: 'not_litellm'; readonly status: number };

/** What the launcher left of the LiteLLM that it started last in a slot. Untrusted text. */
export interface SlotReport {
  /** Of the slot's content that it was started with; '' where that may not be read. */
  readonly slotId: string;
  /** 1: its first start with that content; each death adds one. */
  readonly attempt: number;
  /** Its last lines, without control characters and whatever may be a key; at most 20. */
  readonly lines: readonly string[];
  /** Its exit status; undefined: it runs. */
  readonly endedWith: number | undefined;
  /** The port on which it said that it listens. */
  readonly port: number | undefined;
}
