import { describe, expect, it } from 'vitest';
import { expectRefusal, sayLine } from '../support/attack.ts';
import { callRaw, requestBytes } from '../support/raw-caller.ts';
import { answerAt, conversation, converse, head, lastRequest } from '../support/raw-client.ts';
import { createStages, type Stage } from '../support/stage.ts';

const stage = createStages();
const CHAT = 'POST /v1/chat/completions';

/**
 * As java.net.http.HttpClient sends the first request to a server it has not met (JDK 11 to 21).
 */
const asJava = ({ sidecar }: Stage, line: string, framing: readonly string[] = []): string =>
  head(
    `${line} HTTP/1.1`,
    'Connection: Upgrade, HTTP2-Settings',
    ...framing,
    'Host: gateway:4000',
    'HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
    'Upgrade: h2c',
    'User-Agent: Java-http-client/21.0.5',
    `Authorization: Bearer ${sidecar.key}`,
    'Content-Type: application/json',
  );

/** The sidecar runs in this process: after some turns of the loop it has read what was sent. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}

describe('an Upgrade: h2c POST as Java sends it', () => {
  const BODY = JSON.stringify({ model: 'm', messages: [{ content: 'ä'.repeat(500) }] });
  const LENGTH = `Content-Length: ${Buffer.byteLength(BODY)}`;

  const expectServed = async (on: Stage, answers: { status: number }[], body: string) => {
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    const peer = on.upstream.requests.find(({ method }) => method === 'POST');
    expect((await peer?.body)?.toString()).toBe(body);
    expect(peer?.values('user-agent')).toEqual(['Java-http-client/21.0.5']);
    for (const name of ['upgrade', 'http2-settings', 'connection']) {
      expect(peer?.values(name).join() ?? '').not.toMatch(/h2c|AAEA|upgrade/i);
    }
  };

  it('with its body in the same packet is served whole, and the next request too', async () => {
    const on = await stage({ script: sayLine });
    const bytes = Buffer.from(asJava(on, CHAT, [LENGTH]) + BODY + lastRequest(on.sidecar.key));
    const { answers, rest } = await converse(on.sidecar.port, bytes);
    await expectServed(on, [...answers], BODY);
    expect({ rest, last: answers[1]?.body }).toEqual({ rest: '', last: 'GET /v1/models?last' });
  });

  it('with its body in later packets is served whole, and the next request too', async () => {
    const on = await stage({ script: sayLine });
    const caller = await callRaw(on.sidecar.port);
    const bytes = Buffer.from(BODY);
    for (const piece of [asJava(on, CHAT, [LENGTH]), bytes.subarray(0, 100), bytes.subarray(100)]) {
      caller.send(piece);
      await turns(5);
    }
    await answerAt(caller, 0);
    caller.send(lastRequest(on.sidecar.key));
    await expectServed(on, [...(await conversation(caller)).answers], BODY);
  });

  it('with a chunked body is served whole, and the next request too', async () => {
    const on = await stage({ script: sayLine });
    const chunked = asJava(on, CHAT, ['Transfer-Encoding: chunked']);
    const bytes = `${chunked}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n${lastRequest(on.sidecar.key)}`;
    const { answers } = await converse(on.sidecar.port, bytes);
    await expectServed(on, [...answers], 'hello world');
  });

  it('of a megabyte is served whole', async () => {
    const on = await stage({ script: sayLine });
    const body = 'x'.repeat(1024 * 1024);
    const bytes = asJava(on, CHAT, [`Content-Length: ${body.length}`]) + body;
    const { answers } = await converse(on.sidecar.port, bytes + lastRequest(on.sidecar.key));
    await expectServed(on, [...answers], body);
  });

  it('without a body, or with Expect, is served like any other', async () => {
    const on = await stage({ script: sayLine });
    const bytes = asJava(on, 'GET /v1/models') + lastRequest(on.sidecar.key);
    const { answers } = await converse(on.sidecar.port, bytes);
    expect(answers.map(({ body }) => body)).toEqual(['GET /v1/models', 'GET /v1/models?last']);
    const caller = await callRaw(on.sidecar.port);
    caller.send(asJava(on, CHAT, ['Content-Length: 2', 'Expect: 100-continue']));
    expect((await answerAt(caller, 0)).status).toBe(100);
    caller.send(`{}${lastRequest(on.sidecar.key)}`);
    const statuses = (await conversation(caller)).answers.map(({ status }) => status);
    expect(statuses).toEqual([100, 200, 200]);
  });

  it('is served on a connection that has served before, again and again', async () => {
    const on = await stage({ script: sayLine });
    const caller = await callRaw(on.sidecar.port);
    for (let at = 0; at < 3; at++) {
      caller.send(`${asJava(on, `${CHAT}?${at}`, ['Content-Length: 2'])}{}`);
      expect((await answerAt(caller, 2 * at)).body).toBe(`${CHAT}?${at}`);
      caller.send(requestBytes(on.sidecar, `GET /v1/models?${at}`));
      expect((await answerAt(caller, 2 * at + 1)).body).toBe(`GET /v1/models?${at}`);
    }
    caller.leave();
  });

  it('leaves nothing behind on its connection, however often it comes', async () => {
    const on = await stage({ script: sayLine });
    const warnings: string[] = [];
    const onWarning = ({ message }: Error): void => void warnings.push(message);
    process.on('warning', onWarning);
    const caller = await callRaw(on.sidecar.port);
    for (let at = 0; at < 15; at++) {
      caller.send(asJava(on, `GET /v1/models?${at}`));
      await answerAt(caller, at);
    }
    process.off('warning', onWarning);
    caller.leave();
    expect(warnings).toEqual([]);
  });

  it('is refused by the same rules, without a key or with a framing that means two things', async () => {
    const on = await stage({ script: sayLine });
    const keyless = asJava(on, CHAT, ['Content-Length: 2']).replace('Bearer', 'Basic');
    await expectRefusal(on, `${keyless}{}`, 'malformed_key', 'clean');
    for (const framing of [
      ['Content-Length: 2', 'Transfer-Encoding: chunked'],
      ['Transfer-Encoding: gzip, chunked'],
    ]) {
      await expectRefusal(on, `${asJava(on, CHAT, framing)}{}`, 'bad_request', 'closed');
    }
    const chunkedGet = asJava(on, 'GET /v1/models', ['Transfer-Encoding: chunked']);
    await expectRefusal(on, `${chunkedGet}0\r\n\r\n`, 'bad_request', 'closed');
    const options = asJava(on, CHAT).replace('HTTP2-Settings\r', 'HTTP2-Settings, X-Hop\r');
    const hop = options.replace('\r\n\r\n', '\r\nX-Hop: 1\r\nConnection: close\r\n\r\n');
    await converse(on.sidecar.port, hop);
    expect(on.upstream.requests.at(-1)?.values('x-hop')).toEqual([]);
  });
});

describe('an upgrade', () => {
  it.each(['TLS/1.0', 'h2c, websocket', 'HTTP/2.0'])(
    'to %s is served as a plain request',
    async (protocol) => {
      const on = await stage({ script: sayLine });
      const fields = [`upgrade: ${protocol}`, 'connection: upgrade'];
      const bytes = requestBytes(on.sidecar, 'GET /v1/models', { fields });
      const { answers } = await converse(on.sidecar.port, bytes + lastRequest(on.sidecar.key));
      expect(answers.map(({ body }) => body)).toEqual(['GET /v1/models', 'GET /v1/models?last']);
      expect(on.upstream.requests[0]?.values('upgrade')).toEqual([]);
    },
  );
});
