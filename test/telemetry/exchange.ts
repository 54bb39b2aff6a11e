import { type ExchangeRecord, NOTHING_USED } from '../../src/proxy/record.ts';

/** An exchange as most are, with what a test wants otherwise. */
export const exchange = (changes: Partial<ExchangeRecord> = {}): ExchangeRecord => ({
  id: '5b3e5c0e-8f0a-4c6e-9d51-0a4f3a1d2c11',
  client: 'master',
  generation: 'master-1',
  method: 'POST',
  group: 'chat',
  template: '/v1/chat/completions',
  asksModel: true,
  slot: 'a',
  status: 200,
  ...{ refusal: undefined, limit: undefined },
  outcome: 'answered',
  websocket: false,
  model: 'nvidia-llama-3-1-405b',
  ...NOTHING_USED,
  traceId: '',
  abortReason: undefined,
  address: '10.1.2.3',
  userAgent: 'OpenAI/Python 2.1.0',
  durationMs: 812.123_456,
  firstByteMs: 120.5,
  overheadMs: 0.08,
  requestBytes: 1024,
  responseBytes: 2048,
  ...changes,
});
