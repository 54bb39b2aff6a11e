import { describe, expect, it } from 'vitest';
import { attack, expectRefusal, sayLine } from '../support/attack.ts';
import { requestBytes } from '../support/raw-caller.ts';
import { head } from '../support/raw-client.ts';
import { createStages } from '../support/stage.ts';

const stage = createStages();
const CHUNKS = '5\r\nhello\r\n0\r\n\r\n';
const CHAT = 'POST /v1/chat/completions';
/** What an attacker would like LiteLLM to read as a request of its own. */
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nhost: litellm\r\n\r\n';

describe('request smuggling', () => {
  it.each(['DELETE', 'OPTIONS', 'GET', 'HEAD'])('by a chunked %s is refused', async (method) => {
    const on = await stage({ script: sayLine });
    const chunked = requestBytes(on.sidecar, `${method} /v1/files/f`, {
      fields: ['transfer-encoding: chunked'],
    });
    const length = SMUGGLED.length.toString(16);
    const bytes = `${chunked}${length}\r\n${SMUGGLED}\r\n0\r\n\r\n`;
    if (method !== 'HEAD') {
      await expectRefusal(on, bytes, 'bad_request', 'closed');
      return;
    }
    // The answer to a HEAD has the length of a body that it does not have.
    const { reached, refusals } = await attack(on, bytes);
    expect({ reached, refusals }).toEqual({ reached: [], refusals: [] });
  });

  it('by Content-Length and Transfer-Encoding is refused', async () => {
    const on = await stage({ script: sayLine });
    for (const order of [
      ['content-length: 6', 'transfer-encoding: chunked'],
      ['transfer-encoding: chunked', 'content-length: 6'],
    ]) {
      const bytes = `${requestBytes(on.sidecar, CHAT, { fields: order })}0\r\n\r\n${SMUGGLED}`;
      await expectRefusal(on, bytes, 'bad_request', 'closed');
    }
  });

  it('by two Content-Lengths is refused', async () => {
    const on = await stage({ script: sayLine });
    const fields = ['content-length: 2', `content-length: ${SMUGGLED.length}`];
    const bytes = requestBytes(on.sidecar, CHAT, { fields }) + SMUGGLED;
    await expectRefusal(on, bytes, 'bad_request', 'closed');
  });

  it.each(['gzip, chunked', 'chunked, chunked', 'identity', 'chunked, gzip', '"chunked"'])(
    'by Transfer-Encoding: %s is refused',
    async (coding) => {
      const on = await stage({ script: sayLine });
      const fields = [`transfer-encoding: ${coding}`];
      const bytes = requestBytes(on.sidecar, CHAT, { fields }) + CHUNKS;
      await expectRefusal(on, bytes, 'bad_request', 'closed');
    },
  );

  it('by a Transfer-Encoding on two lines is refused', async () => {
    const on = await stage({ script: sayLine });
    const fields = ['transfer-encoding: gzip', 'transfer-encoding: chunked'];
    const bytes = requestBytes(on.sidecar, CHAT, { fields }) + CHUNKS;
    await expectRefusal(on, bytes, 'bad_request', 'closed');
  });

  it('by Transfer-Encoding in HTTP/1.0 is refused', async () => {
    const on = await stage({ script: sayLine });
    const bytes = requestBytes(on.sidecar, CHAT, {
      fields: ['transfer-encoding: chunked', 'connection: keep-alive'],
    }).replace('HTTP/1.1', 'HTTP/1.0');
    await expectRefusal(on, bytes + CHUNKS, 'bad_request', 'closed');
  });

  it('by obsolete line folding is refused', async () => {
    const on = await stage({ script: sayLine });
    for (const fields of [
      ['x-folded: a\r\n b'],
      ['transfer-encoding:\r\n\tchunked'],
      ['x: y\r\n content-length: 40'],
    ]) {
      const bytes = requestBytes(on.sidecar, CHAT, { fields, body: '{}' });
      await expectRefusal(on, bytes, 'bad_request', 'closed');
    }
  });

  it('by a bare LF, a bare CR or a NUL is refused', async () => {
    const on = await stage({ script: sayLine });
    const good = requestBytes(on.sidecar, CHAT, { fields: ['x: y'], body: '{}' });
    for (const bytes of [
      good.replaceAll('\r\n', '\n'),
      good.replace('x: y\r\n', 'x: y\n'),
      good.replace('x: y', 'x: y\rz: a'),
      good.replace('x: y', 'x: y\0'),
    ]) {
      await expectRefusal(on, bytes, 'bad_request', 'closed');
    }
  });

  it('by a space before the colon, or a name that is none, is refused', async () => {
    const on = await stage({ script: sayLine });
    for (const field of ['transfer-encoding : chunked', 'content length: 1', ': x', 'x']) {
      const bytes = requestBytes(on.sidecar, CHAT, { fields: [field] });
      await expectRefusal(on, bytes, 'bad_request', 'closed');
    }
  });

  it.each(['+6', '0x6', '6, 6', '-1', '6 6', ''])(
    'by Content-Length: %s is refused',
    async (length) => {
      const on = await stage({ script: sayLine });
      const fields = [`content-length: ${length}`];
      await expectRefusal(on, requestBytes(on.sidecar, CHAT, { fields }), 'bad_request', 'closed');
    },
  );

  it('by fields that Node does not show is refused', async () => {
    const on = await stage({ script: sayLine });
    // Node keeps 1,000 fields; its parser frames the body by those beyond all the same.
    const junk = Array.from({ length: 1100 }, (_, at) => `x-${at}: y`);
    for (const [line, framing] of [
      ['DELETE /v1/files/f', 'transfer-encoding: chunked'],
      [CHAT, `content-length: ${CHUNKS.length}`],
      [CHAT, 'authorization: Bearer second'],
    ] as const) {
      const bytes = requestBytes(on.sidecar, line, { fields: [...junk, framing] }) + CHUNKS;
      await expectRefusal(on, bytes, 'headers_too_large', 'closed');
    }
  });

  it('by a WebSocket upgrade with a body is refused', async () => {
    const on = await stage({ script: sayLine });
    const fields = ['upgrade: websocket', 'connection: upgrade', 'sec-websocket-key: a'];
    const bytes = requestBytes(on.sidecar, 'GET /v1/realtime', { fields, body: SMUGGLED });
    await expectRefusal(on, bytes, 'bad_request', 'closed');
  });

  it('by a chunk that is none ends the request and the connection', async () => {
    const on = await stage({ script: sayLine });
    for (const chunk of ['5;\n\r\nhello\r\n', 'x\r\n', '5\r\nhelloo\r\n', '-1\r\n', '5\nhello\n']) {
      const fields = ['transfer-encoding: chunked'];
      const bytes = `${requestBytes(on.sidecar, CHAT, { fields })}${chunk}0\r\n\r\n`;
      const { answers } = await attack(on, bytes);
      expect({ chunk, refusals: answers.map(({ status }) => status) }).toEqual({
        chunk,
        refusals: [400],
      });
      // It may have begun to reach the upstream, but never its end.
      const posts = on.upstream.requests.filter(({ method }) => method === 'POST');
      for (const peer of posts) {
        await peer.gone;
        expect(peer.rawBody.toString()).not.toMatch(/^0\r\n/m);
      }
    }
  });

  it('by CONNECT, TRACE or an unknown method is refused', async () => {
    const on = await stage({ script: sayLine });
    const { key } = on.sidecar;
    const bearer = `authorization: Bearer ${key}`;
    for (const line of [
      'CONNECT litellm:4000 HTTP/1.1',
      'CONNECT /v1/models HTTP/1.1',
      'TRACE /v1/models HTTP/1.1',
      'SMUGGLE /v1/models HTTP/1.1',
      'get /v1/models HTTP/1.1',
      'GET /v1/models HTTP/2.0',
      'GET /v1/models',
    ]) {
      await expectRefusal(on, head(line, 'host: gateway', bearer), 'bad_request', 'closed');
    }
  });

  it('by a missing Host, or by two, is refused', async () => {
    const on = await stage({ script: sayLine });
    const bearer = `authorization: Bearer ${on.sidecar.key}`;
    for (const fields of [[], ['host: gateway', 'host: other']]) {
      const bytes = head('GET /v1/models HTTP/1.1', ...fields, bearer);
      await expectRefusal(on, bytes, 'bad_request', 'closed');
    }
  });
});
