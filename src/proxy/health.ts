import type { ServerResponse } from 'node:http';
import type { CallerRecord } from './exchange-record.ts';

/**
 * Answers LiteLLM's three open health routes in its stead: nothing gets there without a key. It is
 * alive as long as this process answers; ready when LiteLLM is there too. Returns the status.
 */
export function answerHealth(
  response: ServerResponse,
  caller: CallerRecord,
  ready: boolean,
): number {
  const asksReady = caller.template.endsWith('/readiness');
  const status = asksReady && !ready ? 503 : 200;
  // LiteLLM's own words, for whoever reads the body.
  const body = JSON.stringify(
    asksReady ? { status: ready ? 'healthy' : 'unavailable' } : "I'm alive!",
  );
  const headers = [
    ...['content-type', 'application/json'],
    ...['content-length', String(Buffer.byteLength(body))],
    ...['cache-control', 'no-store'],
    ...['x-request-id', caller.id],
  ];
  if (status === 503) headers.push('retry-after', '5');
  response.writeHead(status, headers);
  response.end(body);
  return status;
}
