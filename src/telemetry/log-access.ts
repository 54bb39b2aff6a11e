import type { ExchangeRecord } from '../proxy/exchange-record.ts';

export type LogFields = Readonly<Record<string, unknown>>;

/** Whole microseconds are enough. */
const round = (ms: number): number => Math.round(ms * 1000) / 1000;

/** The access line of an exchange; what says nothing is left out. */
export const accessFields = (record: ExchangeRecord): LogFields => ({
  id: record.id,
  client: record.client,
  generation: record.generation,
  method: record.method,
  route: record.template,
  status: record.status,
  // pino leaves out what is undefined
  refusal: record.refusal,
  outcome: record.outcome === 'answered' ? undefined : record.outcome,
  model: record.model === '' ? undefined : record.model,
  durationMs: round(record.durationMs),
  firstByteMs: record.firstByteMs < 0 ? undefined : round(record.firstByteMs),
  requestBytes: record.requestBytes,
  responseBytes: record.responseBytes,
  address: record.address,
});

/** The same for a person at a terminal: what one looks for first, and the rest behind it. */
export const accessSentence = (record: ExchangeRecord): [LogFields, string] => {
  const { method, route, status, durationMs, generation, ...rest } = accessFields(record);
  return [rest, `${method} ${route} ${status} ${durationMs} ms ${generation}`];
};
