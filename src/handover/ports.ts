import type { Secret } from '../secret.ts';
import type { SlotLetter } from './views.ts';

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
