import type { SlotReport } from '../litellm/report.ts';
import type { SlotDigests } from '../litellm/slots.ts';
import type { Verdict } from '../litellm/verify.ts';
import type { SlotLoad } from './contracts.ts';
import type { SlotLetter } from './views.ts';

/** What stands on the disk for a slot. */
export interface SlotOnDisk {
  readonly folder: SlotDigests | 'none' | 'damaged';
  /** Of the key in its file in the state folder; undefined: there is none. */
  readonly keyDigest: string | undefined;
}

/** What the last looks at a slot's present content showed, in this process. */
export interface Look {
  readonly verdict: Verdict;
  /** Since when each look showed the same kind, and how many did. */
  readonly since: number;
  readonly looks: number;
}

/** Why a slot could not be written. */
export interface PlaceFailure {
  readonly code: 'config_unusable' | 'disk';
  readonly message: string;
  readonly hint: string;
}

export interface SlotSeen extends SlotOnDisk {
  readonly look: Look | undefined;
  /** Of the present content; another one's is none. */
  readonly report: SlotReport | undefined;
  /** Since when that report names a port. */
  readonly portSince: number | undefined;
  /** Where its config.yaml sets a master_key of its own. */
  readonly masterKeyLine: number | undefined;
  readonly failure: PlaceFailure | undefined;
  readonly load: SlotLoad;
  readonly isUp: boolean;
  /** How many exchanges were cut when this process ended what was left there; undefined: not. */
  readonly cut: number | undefined;
}

/** All that a decision is made from, beside what is stored. */
export interface Observation {
  readonly slots: { readonly [slot in SlotLetter]: SlotSeen };
  /** Where this process sends new requests; undefined: it does not serve yet. */
  readonly trafficAt: SlotLetter | undefined;
  /** Another handover waits for this one's end. */
  readonly someoneWaits: boolean;
  /** When this process began; what happened before is known from what is stored alone. */
  readonly startedAt: number;
}

/** Milliseconds; ports are those of SIDECAR_UPSTREAM. */
export interface Limits {
  readonly handoverTimeoutMs: number;
  readonly probationMs: number;
  readonly drainMs: number;
  readonly ports: { readonly [slot in SlotLetter]: number };
}

/** Whether the slot holds what its key file says. */
export const isIntact = ({ folder, keyDigest }: SlotOnDisk): boolean =>
  typeof folder === 'object' && folder.keyDigest === keyDigest;

export const isEmpty = ({ folder, keyDigest }: SlotOnDisk): boolean =>
  folder === 'none' && keyDigest === undefined;

export const isIdle = ({ requests, websockets, mcpSessions }: SlotLoad): boolean =>
  requests + websockets + mcpSessions === 0;

export const idOf = ({ folder }: SlotOnDisk): string | undefined =>
  typeof folder === 'object' ? folder.id : undefined;

/** The models that a good look showed. */
export const goodModels = ({ look }: SlotSeen): readonly string[] | undefined =>
  look?.verdict.kind === 'good' ? look.verdict.models : undefined;

/**
 * When something that is stored began, as far as this process may count from it: the time before
 * this process is not LiteLLM's fault, and a clock that was set back must not make it endless.
 */
export const countsFrom = (stored: number, startedAt: number, now: number): number =>
  stored <= now ? Math.max(stored, startedAt) : startedAt;
