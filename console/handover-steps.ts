import type { HandoverFault, HandoverStep, HandoverView } from '../src/handover/views.ts';

// How far a handover is. Pure.

/** The steps in their order, and what each means. As in `src/handover/views.ts`. */
export const STEPS: Readonly<Record<HandoverStep, string>> = {
  waiting: 'the handover before has not ended yet',
  staged: 'it is prepared, and stored',
  starting: 'LiteLLM starts in the other slot',
  verified: 'it lists models with its key, and refuses another',
  switched: 'new requests go there',
  draining: 'the one before finishes what it has in hand',
};
const STEP_NAMES = Object.keys(STEPS) as HandoverStep[];
const placeOf = (step: HandoverStep): number => STEP_NAMES.indexOf(step);

/** The steps that a handover has: a dry run ends before the switch, and few have to wait. */
export const stepsOf = ({ kind, state }: HandoverView): readonly HandoverStep[] =>
  STEP_NAMES.filter((step) => {
    if (step === 'waiting') return state === 'waiting';
    return kind !== 'dry-run' || placeOf(step) <= placeOf('verified');
  });

export type StepProgress = 'done' | 'under way' | 'failed' | 'not reached';

export function progressOf(step: HandoverStep, view: HandoverView): StepProgress {
  const { state } = view;
  if (state === 'done') return 'done';
  const at = state === 'rolled_back' ? stepOfFault(view) : state;
  if (placeOf(step) < placeOf(at)) return 'done';
  if (step !== at) return 'not reached';
  return state === 'rolled_back' ? 'failed' : 'under way';
}

/** Faults of what is copied into the slot, before a LiteLLM is started there. */
const BEFORE_START: readonly HandoverFault['code'][] = ['config_unusable', 'disk'];

/** In which step a handover was rolled back: that is not stored, but follows from why. */
function stepOfFault({ fault, switchedAt }: HandoverView): HandoverStep {
  if (switchedAt !== null) return 'draining';
  return fault !== null && BEFORE_START.includes(fault.code) ? 'staged' : 'starting';
}
