import { describe, expect, test } from 'vitest';
import type { ProviderStream } from '../support/fake-provider.ts';
import { chat, type Given } from './ask.ts';
import { MODELS } from './stage.ts';

/** A stream in mid-flow: what the client reads, and the provider's end of it. */
export async function openStream(given: Given, signal?: AbortSignal) {
  const { provider } = given();
  const asked = chat(given(), MODELS.nvidia, {
    content: provider.byHand,
    stream: true,
    ...(signal && { signal }),
  });
  const source: ProviderStream = await provider.nextStream();
  source.say('one');
  const answer = await asked;
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  /** Reads until this is there; throws where the stream ends or breaks before. */
  const until = async (wanted: string): Promise<void> => {
    for (let seen = ''; !seen.includes(wanted); ) {
      const chunk = await reader?.read();
      if (chunk?.value === undefined) throw new Error(`the stream ended without ${wanted}`);
      seen += chunk.value;
    }
  };
  await until('"one"');
  return { source, until };
}

export const streams = (given: Given) =>
  describe('a stream', () => {
    test('each event arrives before the next one is sent', async () => {
      const { source, until } = await openStream(given);
      for (const word of ['two', 'three']) {
        source.say(word);
        await until(`"${word}"`);
      }
      source.finish();
      await until('[DONE]');
    });

    test('a client that leaves ends the provider’s work', async () => {
      const leave = new AbortController();
      const { source } = await openStream(given, leave.signal);
      const line = given().sidecar.nextLine(({ outcome }) => outcome === 'client_aborted');
      leave.abort();
      await source.gone;
      expect(await line).toMatchObject({ route: '/v1/chat/completions', status: 200 });
    });
  });
