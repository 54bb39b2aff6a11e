import type { Peer, Script } from '../support/fake-upstream.ts';
import { accept } from '../support/websocket.ts';

/** What a client asks of this LiteLLM: the body of its request. */
export interface Wish {
  readonly model: string;
  readonly stream?: boolean;
  /** Milliseconds to the first chunk of a stream. */
  readonly wait?: number;
  /** In US dollars. */
  readonly cost?: number;
  readonly says?: '429' | '500' | 'nothing';
  readonly withoutUsage?: boolean;
}

const USAGE = {
  prompt_tokens: 40,
  completion_tokens: 12,
  total_tokens: 52,
  prompt_tokens_details: { cached_tokens: 10, cache_creation_tokens: 5 },
  completion_tokens_details: { reasoning_tokens: 4 },
};

/** A LiteLLM that counts and prices what it is asked for, and fails where it is told to. */
export function createProvider(): Script {
  let wasFlaky = false;
  return async (peer: Peer) => {
    if (peer.values('upgrade').length > 0) return void (await accept(peer));
    if (peer.method !== 'POST') return peer.answer('200 OK', '{"data":[]}', JSON_TYPE);
    const wish = JSON.parse(String(await peer.body)) as Wish;
    if (wish.says !== undefined) return fail(peer, wish.says);
    if (wish.model !== 'flaky' || wasFlaky) return await answer(peer, wish);
    // As a connection that had died of old age.
    wasFlaky = true;
    peer.reset();
  };
}

const REASONS = { 429: 'Too Many Requests', 500: 'Internal Server Error' };
const ERROR = '{"error":{"message":"as it was told to","type":"x","code":"x"}}';

function fail(peer: Peer, says: NonNullable<Wish['says']>): void {
  if (says === 'nothing') peer.reset();
  else peer.answer(`${says} ${REASONS[says]}`, ERROR, JSON_TYPE);
}

const JSON_TYPE = 'content-type: application/json';
const fieldsOf = ({ model, cost = 0.01 }: Wish): string[] => [
  `x-litellm-model-group: ${model}`,
  `x-litellm-response-cost: ${cost}`,
  'x-litellm-response-duration-ms: 1',
];

async function answer(peer: Peer, wish: Wish): Promise<void> {
  const usage = wish.withoutUsage ? {} : { usage: { ...USAGE, cost: wish.cost ?? 0.01 } };
  if (wish.stream) return await answerByChunks(peer, wish, usage);
  const message = { role: 'assistant', content: 'yes' };
  const choices = [{ index: 0, message, finish_reason: 'stop' }];
  const body = { id: 'x', object: 'chat.completion', model: wish.model, choices, ...usage };
  peer.answer('200 OK', JSON.stringify(body), JSON_TYPE, ...fieldsOf(wish));
}

async function answerByChunks(peer: Peer, wish: Wish, usage: object): Promise<void> {
  const fields = fieldsOf(wish).filter((field) => !field.startsWith('x-litellm-response-cost'));
  const type = ['content-type: text/event-stream', 'transfer-encoding: chunked'];
  peer.head('200 OK', ...type, ...fields);
  await new Promise((wake) => setTimeout(wake, wish.wait ?? 0));
  const event = (more: object): boolean =>
    peer.chunk(
      `data: ${JSON.stringify({ object: 'chat.completion.chunk', model: wish.model, ...more })}\n\n`,
    );
  for (const content of ['y', 'e', 's']) {
    event({ choices: [{ index: 0, delta: { content } }] });
    await new Promise((wake) => setTimeout(wake, 20));
  }
  event({ choices: [], ...usage });
  peer.chunk('data: [DONE]\n\n');
  peer.write('0\r\n\r\n');
}
