import type { Refusal } from '../refusal.ts';
import type { ExchangeContext, ExchangeRequest } from './exchange-context.ts';
import { type Ended, type ExchangeRecord, recordOf } from './exchange-record.ts';
import * as refusals from './exchange-refusals.ts';
import { refuseRequest } from './refuse.ts';
import type { Upload } from './upload.ts';

/**
 * Why a request without an answer has had its time; undefined: it has not.
 *
 * @param now on the monotonic clock
 * @param sentAt when it was sent; -1: it was not
 */
export function overdue(
  now: number,
  { answerTimeoutMs, uploadIdleMs }: Pick<ExchangeContext, 'answerTimeoutMs' | 'uploadIdleMs'>,
  upload: Upload | undefined,
  sentAt: number,
): Refusal | undefined {
  if (uploadIdleMs > 0 && upload?.waitsForClient && now - upload.lastAt > uploadIdleMs) {
    return refusals.uploadStalled();
  }
  if (answerTimeoutMs === 0 || sentAt < 0) return undefined;
  const isLate = now - Math.max(sentAt, upload?.lastAt ?? 0) > answerTimeoutMs;
  return isLate ? refusals.answerLate() : undefined;
}

/** Says to the client of an admitted request why it is not served. */
export function refuseExchange(it: ExchangeRequest, no: Refusal): void {
  const { request, response, decision, caller, origin } = it;
  const { dialect } = decision.route;
  const context = { dialect, requestId: caller.id, origin, close: false };
  refuseRequest(request, response, no, { ...context, whole: request.complete });
}

/** @param now on the monotonic clock */
export const recordOfExchange = (
  { caller, response, upload, startedAt }: ExchangeRequest,
  ended: Ended,
  now: number,
): ExchangeRecord =>
  recordOf(caller, ended, {
    status: response.headersSent ? response.statusCode : 0,
    durationMs: now - startedAt,
    requestBytes: upload?.bytes ?? 0,
  });
