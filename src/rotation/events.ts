import type { PublishTarget } from '../config/kinds.ts';
import type { KeyringEvent } from '../keyring/command.ts';
import type { StoreError } from '../store/key-store.ts';
import type { Actor } from './admin.ts';
import type { DeclaredOutcome } from './declared.ts';
import type { ClockJump } from './steady-clock.ts';
import type { TombstoneUse } from './use.ts';

/** Where a rotation came from. */
export const TRIGGERS = ['cli', 'api', 'schedule', 'declared', 'start'] as const;
export type Trigger = (typeof TRIGGERS)[number];
export const ROTATION_OUTCOMES = ['done', 'failed', 'refused'] as const;
export type RotationOutcome = (typeof ROTATION_OUTCOMES)[number];

/** What is told of keys as it happens, for the log and the metrics; none may throw or wait. */
export interface KeyEvents {
  onChange(event: KeyringEvent, by: Actor): void;
  onRotation(trigger: Trigger, outcome: RotationOutcome): void;
  /** Undefined: it works again. */
  onStore(error: StoreError | undefined): void;
  onPublishFailure(target: PublishTarget | 'state', error: Error): void;
  /** Something that was mended or gone on with at the start. */
  onNote(message: string): void;
  onDeclared(outcome: DeclaredOutcome): void;
  onClockJump(jump: ClockJump): void;
  /** A scheduled rotation did not succeed; it is tried again. */
  onScheduleFailure(client: string, error: Error): void;
  /** A retired or revoked key came back, for the first time within an hour or added up. */
  onTombstone(use: TombstoneUse): void;
}

/** What an actor's name in the audit says of where it came from. */
export function triggerOf(by: Actor): Trigger {
  if (by === 'schedule') return 'schedule';
  if (by.startsWith('declared:')) return 'declared';
  if (by.startsWith('api:')) return 'api';
  return by === 'sidecar' ? 'start' : 'cli';
}
