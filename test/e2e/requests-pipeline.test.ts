import { describe, expect, it } from 'vitest';
import { get } from '../support/ask.ts';
import { sayLine } from '../support/attack.ts';
import { callRaw, requestBytes } from '../support/raw-caller.ts';
import { conversation, converse, head, lastRequest } from '../support/raw-client.ts';
import { createStages } from '../support/stage.ts';

const stage = createStages();
const MODELS = 'GET /v1/models';

describe('behind a request that has no answer yet', () => {
  it('another is answered after it, though it was ready first', async () => {
    const on = await stage();
    const caller = await callRaw(on.sidecar.port);
    const bytes = requestBytes(on.sidecar, `${MODELS}?slow`) + lastRequest(on.sidecar.key);
    caller.send(bytes);
    const peers = [await on.upstream.next(), await on.upstream.next()];
    const slow = peers.find(({ target }) => target.endsWith('slow'));
    peers.find(({ target }) => target.endsWith('last'))?.answer('200 OK', 'quick');
    slow?.answer('200 OK', 'slow');
    const { answers, rest } = await conversation(caller);
    expect({ bodies: answers.map(({ body }) => body), rest }).toEqual({
      bodies: ['slow', 'quick'],
      rest: '',
    });
  });

  it('a refusal waits for its turn', async () => {
    const on = await stage();
    const caller = await callRaw(on.sidecar.port);
    const keyless = head('GET /v1/models HTTP/1.1', 'host: gateway');
    const chunked = requestBytes(on.sidecar, 'DELETE /v1/x', {
      fields: ['transfer-encoding: chunked'],
    });
    caller.send(`${requestBytes(on.sidecar, MODELS)}${keyless}${chunked}0\r\n\r\n`);
    (await on.upstream.next()).answer('200 OK', 'first');
    const { answers, refusals, rest } = await conversation(caller);
    expect(answers.map(({ status }) => status)).toEqual([200, 401, 400]);
    expect({ refusals, rest }).toEqual({
      refusals: [undefined, 'missing_key', 'bad_request'],
      rest: '',
    });
  });

  it('what cannot be read ends the connection, after the answer', async () => {
    const on = await stage();
    const caller = await callRaw(on.sidecar.port);
    caller.send(`${requestBytes(on.sidecar, MODELS)}garbage\r\n\r\n`);
    const peer = await on.upstream.next();
    caller.send('more garbage');
    peer.answer('200 OK', 'first');
    const { answers, rest } = await conversation(caller);
    expect({ bodies: answers.map(({ body }) => body), rest }).toEqual({
      bodies: ['first'],
      rest: '',
    });
  });

  it('an upgrade or a CONNECT ends the connection, and is not taken for the answer', async () => {
    const on = await stage();
    for (const bytes of [
      head('GET /v1/realtime HTTP/1.1', 'host: a', 'upgrade: websocket', 'connection: upgrade'),
      head('POST /v1/models HTTP/1.1', 'host: a', 'upgrade: h2c', 'connection: upgrade'),
      head('CONNECT litellm:4000 HTTP/1.1', 'host: a'),
    ]) {
      const { answers, rest } = await converse(
        on.sidecar.port,
        requestBytes(on.sidecar, MODELS) + bytes,
      );
      expect({ answers, rest }).toEqual({ answers: [], rest: '' });
    }
  });
});

describe('behind a refused request', () => {
  it('of which the body is still coming nothing is served', async () => {
    const on = await stage({ script: sayLine });
    await get(on.sidecar);
    const caller = await callRaw(on.sidecar.port);
    caller.send(head('POST /v1/models HTTP/1.1', 'host: gateway', 'content-length: 10'));
    await caller.until('missing_key');
    caller.send(`0123456789${lastRequest(on.sidecar.key)}`);
    const { answers, refusals, rest } = await conversation(caller);
    expect({ refusals, rest }).toEqual({ refusals: ['missing_key'], rest: '' });
    expect(answers[0]?.field('connection')).toBe('close');
    await get(on.sidecar);
    expect(on.upstream.requests.map(({ target }) => target)).toEqual(['/v1/models', '/v1/models']);
  });

  it('others on the same connection are served as they deserve', async () => {
    const on = await stage({ script: sayLine });
    const keyless = head('GET /v1/models HTTP/1.1', 'host: gateway');
    const bytes = (keyless + requestBytes(on.sidecar, MODELS)).repeat(7);
    const { answers, rest } = await converse(on.sidecar.port, bytes + lastRequest(on.sidecar.key));
    const statuses = answers.map(({ status }) => status);
    expect(statuses).toEqual([...Array.from({ length: 7 }, () => [401, 200]).flat(), 200]);
    expect(rest).toBe('');
  });
});

describe('a connection that does not wait for answers', () => {
  const keyless = head('GET /v1/models HTTP/1.1', 'host: gateway');

  it('is served sixteen requests of one packet, and then ends', async () => {
    const on = await stage({ script: sayLine });
    const { answers, rest } = await converse(on.sidecar.port, keyless.repeat(1000));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 16 }, () => 401));
    expect(rest).toBe('');
    expect(on.sidecar.accessLines()).toHaveLength(16);
  });

  it('has sixteen requests at LiteLLM, however they come, and ends with their answers', async () => {
    const on = await stage();
    const caller = await callRaw(on.sidecar.port);
    const peers = [];
    for (let each = 0; each < 16; each++) {
      caller.send(requestBytes(on.sidecar, `${MODELS}?${each}`));
      peers.push(await on.upstream.next());
    }
    caller.send(requestBytes(on.sidecar, `${MODELS}?16`).repeat(100));
    for (const peer of peers.reverse()) peer.answer('200 OK', peer.target);
    const { answers, rest } = await conversation(caller);
    expect(answers.map(({ body }) => body)).toEqual(
      Array.from({ length: 16 }, (_, each) => `/v1/models?${each}`),
    );
    expect(rest).toBe('');
    expect(on.upstream.requests).toHaveLength(16);
  });

  it('may go on for ever where it has few at a time', async () => {
    const on = await stage({ script: sayLine });
    const caller = await callRaw(on.sidecar.port);
    for (let each = 0; each < 40; each++) {
      caller.send(requestBytes(on.sidecar, `${MODELS}?a${each}`));
      caller.send(requestBytes(on.sidecar, `${MODELS}?b${each}`));
      await caller.until(`b${each}`);
    }
    caller.send(lastRequest(on.sidecar.key));
    expect((await conversation(caller)).answers).toHaveLength(81);
  });

  it('is not served at the ops port either', async () => {
    const { sidecar } = await stage();
    const livez = head('GET /livez HTTP/1.1', 'host: ops');
    expect((await converse(sidecar.opsPort, livez.repeat(1000))).answers).toHaveLength(16);
  });
});
