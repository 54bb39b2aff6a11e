import { type Refusal, refusal, statusOf } from '../refusal.ts';
import type { TrafficEvents } from './exchange-record.ts';
import type { FailureLimiter } from './failures.ts';
import { answeredHere, type Judged } from './judge.ts';

/** Refuses a judged request: counts a guess, says the refusal, and records it. */
export type TurnAway = (judged: Judged, no: Refusal, say: (final: Refusal) => void) => void;

/** A key that is wrong may be a guess; a key that is missing is not. */
const GUESSES: ReadonlySet<string> = new Set([
  'malformed_key',
  'unknown_key',
  'expired_key',
  'revoked_key',
]);

const tooManyFailures = (retryAfter: number): Refusal =>
  refusal(
    'too_many_failures',
    'too many failed authentications from this address: check the key, then wait',
    { retryAfter },
  );

export function createTurnAway(options: {
  failures: FailureLimiter;
  events: TrafficEvents;
  elapsed: () => number;
}): TurnAway {
  const finish = (judged: Judged, final: Refusal, say: (final: Refusal) => void): void => {
    say(final);
    const durationMs = options.elapsed() - judged.startedAt;
    options.events.onExchangeEnd(
      answeredHere(judged.caller, {
        status: statusOf(final.code),
        refusal: final.code,
        durationMs,
      }),
    );
  };
  const finishGuess = async (
    judged: Judged,
    no: Refusal,
    say: (final: Refusal) => void,
  ): Promise<void> => {
    const retryAfter = await options.failures.count(judged.from.address);
    finish(judged, retryAfter === undefined ? no : tooManyFailures(retryAfter), say);
  };
  return (judged, no, say) => {
    if (GUESSES.has(no.code)) void finishGuess(judged, no, say);
    // One turn later a body that came with the head is read, and its connection can be kept.
    else queueMicrotask(() => finish(judged, no, say));
  };
}
