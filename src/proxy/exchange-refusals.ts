import { type Refusal, refusal } from '../refusal.ts';

/** Seconds: about how long LiteLLM takes to start. */
const RETRY_AFTER = 5;

/** What a client is told when its request was admitted and could still not be served. */
export const away = (): Refusal =>
  refusal('upstream_unavailable', 'LiteLLM is not reachable: try again', {
    retryAfter: RETRY_AFTER,
  });

export const keyChanges = (): Refusal =>
  refusal('upstream_unavailable', "LiteLLM's key is being changed: try again", { retryAfter: 1 });

export const tooManyWait = (): Refusal =>
  refusal('overloaded', 'LiteLLM is not reachable, and too many requests wait for it already', {
    retryAfter: RETRY_AFTER,
  });

export const draining = (): Refusal =>
  refusal('draining', 'this gateway is stopping: try again', { retryAfter: 1 });

export const uploadStalled = (): Refusal =>
  refusal('request_timeout', 'the body of the request stopped coming');

export const answerLate = (): Refusal =>
  refusal('upstream_timeout', 'LiteLLM did not begin to answer in time');

export const brokeOff = (cause: Error): Refusal =>
  refusal('upstream_failed', 'LiteLLM broke off before it answered', { cause });

export const unsendable = (cause: Error): Refusal =>
  refusal('sidecar_failed', 'this request could not be sent on', { cause });

export const unknownExpectation = (): Refusal =>
  refusal('bad_request', 'Expect may only say 100-continue');
