import type { LiveEvent } from '../../src/servers/admin/live.ts';

/** The events of an answer of `GET /api/live`, one after the other; `return` ends it. */
export async function* eventsFrom(answer: Response): AsyncGenerator<LiveEvent, undefined> {
  if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of (answer.body ?? []) as AsyncIterable<Uint8Array>) {
    const blocks = `${rest}${decoder.decode(chunk, { stream: true })}`.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) yield JSON.parse(block.replace(/^data: /, ''));
  }
  return undefined;
}
