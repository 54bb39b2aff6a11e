import { expect } from 'vitest';
import { type RefusalCode, statusOf } from '../../src/refusal.ts';
import { get } from './ask.ts';
import type { Peer, Script } from './fake-upstream.ts';
import { type Conversation, converse, lastRequest } from './raw-client.ts';
import type { Stage } from './stage.ts';

/** Answers every request, once it is whole, with its request line. */
export const sayLine: Script = async (peer: Peer) => {
  await peer.body;
  peer.answer('200 OK', lineOf(peer));
};

const lineOf = ({ method, target }: Peer): string => `${method} ${target}`;

export interface Attacked extends Conversation {
  /** The request lines that reached the upstream on account of it. */
  readonly reached: readonly string[];
}

const LAST = 'GET /v1/models?last';
const AFTER = '/v1/models?after';

/**
 * Says these bytes and, in the same packet, a good request behind them. The sidecar's connection to
 * the upstream is open already, so that nothing that leaks would come too late to be seen.
 */
export async function attack({ sidecar, upstream }: Stage, bytes: string): Promise<Attacked> {
  await get(sidecar, '/v1/models?warm');
  const before = upstream.requests.length;
  const conversation = await converse(sidecar.port, bytes + lastRequest(sidecar.key));
  // The process lives, and what it let through before has arrived.
  expect((await get(sidecar, AFTER)).text).toBe(`GET ${AFTER}`);
  const reached = upstream.requests.slice(before, -1).map(lineOf);
  return { ...conversation, reached };
}

/**
 * Expects a refusal that leaves the connection either clean, so that the good request behind it is
 * served, or closed, so that it is not. Nothing else reached the upstream, and nothing was mixed.
 */
export async function expectRefusal(
  stage: Stage,
  bytes: string,
  code: RefusalCode,
  connection: 'clean' | 'closed',
): Promise<Attacked> {
  const attacked = await attack(stage, bytes);
  const { answers, refusals, rest, reached } = attacked;
  const goesOn = connection === 'clean';
  expect({ refusals, rest, reached }).toEqual({
    refusals: goesOn ? [code, undefined] : [code],
    rest: '',
    reached: goesOn ? [LAST] : [],
  });
  expect(answers[0]?.status).toBe(statusOf(code));
  expect(answers[0]?.field('x-request-id')).toMatch(/^[\w.:-]+$/);
  if (goesOn) expect(answers[1]?.body).toBe(LAST);
  else expect(answers[0]?.field('connection')).toBe('close');
  return attacked;
}
