import { on, once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { bearer, type Given, STRANGER } from './ask.ts';
import { MODELS } from './stage.ts';

export const webSockets = (given: Given) =>
  describe('a WebSocket to /v1/realtime', () => {
    const connect = (
      model: string,
      subprotocols: string[],
      headers: Record<string, string> = {},
    ): WebSocket => {
      const { url } = given().sidecar;
      const target = `${url.replace('http', 'ws')}/v1/realtime?model=${model}`;
      return new WebSocket(target, subprotocols, { headers });
    };
    const refused = async (socket: WebSocket) => {
      const [request, response] = (await once(socket, 'unexpected-response')) as [
        { destroy(): void },
        IncomingMessage,
      ];
      request.destroy();
      return [response.statusCode, response.headers['x-sidecar-refusal']];
    };
    /** Speaks with the provider, and leaves. */
    const talk = async (socket: WebSocket) => {
      const said = on(socket, 'message');
      const hear = async (): Promise<unknown> => JSON.parse(String((await said.next()).value[0]));
      expect(await hear()).toMatchObject({ type: 'session.created' });
      for (const text of ['one', 'two']) {
        socket.send(JSON.stringify({ type: 'response.create', text }));
        expect(await hear()).toEqual({ type: 'echo', of: { type: 'response.create', text } });
      }
      const closed = once(socket, 'close');
      socket.close(1000, 'done');
      await closed;
      return socket.protocol;
    };

    test('is refused without a key, by the sidecar', async () => {
      expect(await refused(connect(MODELS.nvidia, []))).toEqual([401, 'missing_key']);
    });

    test('is refused with a wrong key in either place', async () => {
      expect(await refused(connect(MODELS.nvidia, [], bearer(STRANGER)))).toEqual([
        401,
        'unknown_key',
      ]);
      const subprotocols = ['realtime', `openai-insecure-api-key.${STRANGER}`];
      expect(await refused(connect(MODELS.nvidia, subprotocols))).toEqual([401, 'unknown_key']);
    });

    test('speaks both ways with the key in Authorization', async () => {
      expect(await talk(connect(MODELS.mock, [], bearer(given().key)))).toBe('');
    });

    test('speaks with the key in a subprotocol, of which the server picks another', async () => {
      const subprotocols = ['realtime', `openai-insecure-api-key.${given().key}`];
      expect(await talk(connect(MODELS.mock, subprotocols))).toBe('realtime');
    });

    test.each([
      [MODELS.broken, 1008, 'Upstream realtime handshake rejected with HTTP 401'],
      [MODELS.limited, 1011, expect.stringMatching(/^Internal server error/)],
    ])('%s: LiteLLM’s close code %d and its reason arrive', async (model, closeCode, why) => {
      const socket = connect(model, [], bearer(given().key));
      const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
      expect([code, reason.toString()]).toEqual([closeCode, why]);
    });
  });
