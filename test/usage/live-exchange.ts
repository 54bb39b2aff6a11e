import type { LiveExchange } from '../../src/usage/live.ts';

/** A request of master's to gpt-4o that went well, but for what is said of it. */
export const exchange = (changes: Partial<LiveExchange>): LiveExchange => ({
  ...{ id: 'request-1', client: 'master', generation: 'master-1', model: 'gpt-4o', status: 200 },
  ...{ refusal: undefined, outcome: 'answered', usage: undefined, usageFault: undefined },
  ...{ method: 'POST', template: '/v1/chat/completions', address: '10.0.0.7', userAgent: 'curl' },
  firstChunkMs: -1,
  ...changes,
});
