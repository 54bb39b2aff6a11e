import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { type SidecarProcess, startSidecarProcess } from '../support/sidecar-process.ts';
import { bearer, type Given } from './ask.ts';
import { MODELS } from './stage.ts';

/** A relay to a port of the loopback that keeps every byte that goes there. */
async function startTap(port: number) {
  const chunks: Buffer[] = [];
  const server = createServer((client) => {
    const upstream = connect({ host: '127.0.0.1', port });
    client.on('data', (chunk) => chunks.push(chunk)).pipe(upstream);
    upstream.pipe(client);
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: () => Buffer.concat(chunks).toString('latin1'),
    close: () => server.close(),
  };
}

/** LiteLLM cuts credentials out of its own log: what it was sent is seen on its way. */
export const onTheWire = (given: Given) =>
  describe('on the wire to LiteLLM', () => {
    let tap: Awaited<ReturnType<typeof startTap>>;
    let sidecar: SidecarProcess;

    beforeAll(async () => {
      const { folder, litellm, upstreamKey, key } = given();
      tap = await startTap(Number(new URL(litellm.url).port));
      const home = join(folder, 'tapped');
      await mkdir(home);
      sidecar = await startSidecarProcess(home, {
        SIDECAR_UPSTREAM: tap.url,
        SIDECAR_UPSTREAM_KEY: upstreamKey,
        LITELLM_MASTER_KEY: key,
      });
    });
    afterAll(async () => {
      await sidecar?.stop();
      tap?.close();
    });

    test('goes LiteLLM’s own key, and the clients’ in no place at all', async () => {
      const { key, upstreamKey } = given();
      const everywhere = {
        ...bearer(key),
        'x-litellm-api-key': key,
        'api-key': key,
        'x-api-key': key,
        'x-goog-api-key': key,
        'ocp-apim-subscription-key': key,
        litellm_user_api_key: key,
        'x-marker': 'was here',
      };
      const url = `${sidecar.url}/v1beta/models/${MODELS.mock}:generateContent?key=${key}&a=b`;
      const body = JSON.stringify({ contents: [{ parts: [{ text: 'hi' }] }] });
      const headers = { 'content-type': 'application/json', ...everywhere };
      expect((await fetch(url, { method: 'POST', headers, body })).status).toBe(200);

      const live = `${sidecar.url.replace('http', 'ws')}/v1/realtime?model=${MODELS.mock}`;
      const subprotocols = ['realtime', `openai-insecure-api-key.${key}`];
      const socket = new WebSocket(live, subprotocols, { headers: everywhere });
      await once(socket, 'open');
      socket.close();
      await once(socket, 'close');

      const seen = tap.seen();
      // The sidecar asks LiteLLM for its models by itself, too.
      const heads = seen.split('\r\n\r\n').filter((head) => head.includes('was here'));
      expect(seen).toContain('generateContent?a=b HTTP/1.1');
      expect(seen.includes(key)).toBe(false);
      const keys = heads.map((head) => head.split(`Bearer ${upstreamKey}`).length - 1);
      expect(keys).toEqual([1, 1]);
    });
  });
