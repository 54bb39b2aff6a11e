import { describe, expect, it } from 'vitest';
import { post } from '../support/ask.ts';
import { callRaw, callWith, requestBytes } from '../support/raw-caller.ts';
import { conversation, readAnswers } from '../support/raw-client.ts';
import { createStages, series } from '../support/stage.ts';
import { SWITCHED, upgradeBytes } from '../support/websocket.ts';

const stage = createStages();
const GET = 'GET /v1/models';
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('an answer with Trailer where no chunks are sent', () => {
  const LENGTH = 'HTTP/1.1 203 Odd\r\ncontent-length: 2\r\ntrailer: x-sum\r\nx-a: 1\r\n\r\nok';
  const CHUNKS =
    'HTTP/1.1 203 Odd\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nx-a: 1\r\n\r\n';
  const NONE = 'HTTP/1.1 204 Odd\r\ntrailer: x-sum\r\nx-a: 1\r\n\r\n';
  it.each([
    ['with a length', GET, 'HTTP/1.1', LENGTH],
    ['to HEAD', 'HEAD /v1/models', 'HTTP/1.1', CHUNKS],
    ['to HTTP/1.0', GET, 'HTTP/1.0', `${CHUNKS}2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n`],
    ['without a body', GET, 'HTTP/1.1', NONE],
  ])('%s passes without it', async (_, line, version, said) => {
    const { sidecar } = await stage({ script: (peer) => void peer.write(said) });
    const caller = await callRaw(sidecar.port);
    caller.send(requestBytes(sidecar, line).replace('HTTP/1.1', version));
    const text = await caller.until(said.includes('ok') ? 'ok' : '\r\n\r\n');
    expect(text).toMatch(/^HTTP\/1\.1 20[34] Odd\r\n/);
    expect(text).toMatch(/x-a: 1/);
    expect(text).not.toMatch(/x-sum|502/);
    expect(await series(sidecar, 'upstream_errors_total{kind="protocol"}')).toBe(0);
  });

  it('in chunks keeps it, and the trailers', async () => {
    const said = `${CHUNKS}2\r\nok\r\n0\r\nx-sum: 9\r\nconstructor: c\r\n__proto__: p\r\n\r\n`;
    const { sidecar } = await stage({ script: (peer) => void peer.write(said) });
    const caller = await callWith(sidecar, GET);
    const text = await caller.until(/0\r\n.*\r\n\r\n$/s);
    expect(text).toMatch(/trailer: x-sum/);
    expect(text).toMatch(/\r\n0\r\nx-sum: 9\r\nconstructor: c\r\n__proto__: p\r\n\r\n$/);
  });
});

describe('a reason phrase', () => {
  it.each([
    ['in ISO 8859-1', 'Caf\xe9', 'OK'],
    ['in UTF-8', 'Caf\xc3\xa9', 'OK'],
    ['of Chinese', Buffer.from('好').toString('latin1'), 'OK'],
    ['with a control character', 'a\x01b', 'OK'],
    ['of plain text', 'Fine, thanks', 'Fine, thanks'],
  ])('%s: the client gets the answer', async (_, said, got) => {
    const answer = latin1(`HTTP/1.1 200 ${said}\r\ncontent-length: 2\r\n\r\nok`);
    const { sidecar } = await stage({ script: (peer) => void peer.write(answer) });
    const caller = await callWith(sidecar, GET);
    expect(await caller.until('ok')).toContain(`HTTP/1.1 200 ${got}\r\n`);
  });

  it('that is odd, of an odd status and with Trailer: the client gets the answer', async () => {
    const answer = latin1('HTTP/1.1 299 \xe9\r\ntrailer: a\r\ncontent-length: 2\r\n\r\nok');
    const { sidecar } = await stage({ script: (peer) => void peer.write(answer) });
    const caller = await callWith(sidecar, GET);
    expect(await caller.until('ok')).toContain('HTTP/1.1 299 \r\n');
  });

  it('that is odd, to an upgrade: the client gets the refusal', async () => {
    const answer = latin1('HTTP/1.1 403 \xe9\x01\r\nx-a: \xe9\r\ncontent-length: 2\r\n\r\nno');
    const { sidecar } = await stage({ script: (peer) => void peer.write(answer) });
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    const text = await caller.until('no');
    expect(text).toContain('HTTP/1.1 403 Forbidden\r\n');
    expect(text).toContain('x-a: \xe9\r\n');
  });

  it.each([
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n',
    'HTTP/1.1 099 Odd\r\ncontent-length: 2\r\n\r\n',
  ])('of an upgrade to nothing is a 502: %j', async (said) => {
    const { sidecar } = await stage({ script: (peer) => void peer.write(`${said}no`) });
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    const { answers, refusals, rest } = await conversation(caller);
    expect({ status: answers[0]?.status, refusals, rest }).toEqual({
      status: 502,
      refusals: ['upstream_failed'],
      rest: '',
    });
  });
});

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';
const ANSWER = `HTTP/1.1 200 OK\r\ncontent-length: ${CONTINUE.length}\r\n\r\n${CONTINUE}`;

describe('a 100 that nobody asked for', () => {
  it.each([
    ['once', CONTINUE],
    ['three times', CONTINUE.repeat(3)],
    ['with fields', 'HTTP/1.1 100 \r\nx-a: 1\r\ndate: now\r\n\r\n'],
    ['around a 103', `${CONTINUE}HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${CONTINUE}`],
  ])('%s is passed over, and no byte of the answer with it', async (_, said) => {
    const { sidecar, upstream } = await stage({
      script: async (peer) => {
        await peer.body;
        peer.write(said + ANSWER);
      },
    });
    for (const body of ['{}', 'b'.repeat(200_000)]) {
      const { response, text } = await post(sidecar, body);
      expect([response.statusCode, text]).toEqual([200, CONTINUE]);
    }
    expect(upstream.connections()).toBe(1);
  });

  it('byte by byte, and before the body is there', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, 'POST /v1/chat/completions', {
      fields: ['content-length: 4'],
    });
    caller.send('bo');
    const peer = await upstream.next();
    peer.socket.setNoDelay(true);
    for (const byte of CONTINUE + ANSWER) {
      await new Promise((resolve) => void peer.socket.write(byte, resolve));
    }
    caller.send('dy');
    await caller.until(CONTINUE);
    const { answers, rest } = readAnswers(caller.received);
    expect(answers.map(({ status, body }) => [status, body])).toEqual([[200, CONTINUE]]);
    expect(rest).toBe('');
  });

  it('and then nothing: 502', async () => {
    const { sidecar } = await stage({ script: (peer) => peer.socket.end(CONTINUE) });
    expect((await post(sidecar)).response.statusCode).toBe(502);
  });
});

const NAMES = ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf'];
const FIELDS = NAMES.map((name, n) => `${name}: ${n}`);

describe('names that every object of JavaScript has', () => {
  it('are names of fields, both ways', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callWith(sidecar, GET, { fields: FIELDS });
    const peer = await upstream.next();
    NAMES.forEach((name, n) => void expect(peer.values(name)).toEqual([String(n)]));
    peer.answer('200 OK', 'body', ...FIELDS);
    const text = await caller.until('body');
    for (const field of FIELDS) expect(text).toContain(`${field}\r\n`);
  });

  it('are names of fields to a WebSocket and of its 101', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar).replace(/\r\n$/, `${FIELDS.join('\r\n')}\r\n\r\n`));
    const peer = await upstream.next();
    NAMES.forEach((name, n) => void expect(peer.values(name)).toEqual([String(n)]));
    const head = ['HTTP/1.1 101 Switching Protocols', 'upgrade: websocket', 'connection: upgrade'];
    peer.write(latin1([...head, ...FIELDS, 'x-a: \xe9', '', 'frame'].join('\r\n')));
    const text = await caller.until('frame');
    for (const field of FIELDS) {
      expect(text.toLowerCase()).toContain(`\r\n${field.toLowerCase()}\r\n`);
    }
    expect(text).toContain('x-a: \xe9\r\n');
  });

  it('are names of fields of a refusal to a WebSocket', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    (await upstream.next()).answer('403 Forbidden', 'because', ...FIELDS);
    const text = (await caller.until('because')).toLowerCase();
    for (const field of FIELDS) expect(text).toContain(`\r\n${field.toLowerCase()}\r\n`);
  });
});

describe('a 101', () => {
  it('behind a 100 and a 103 opens the WebSocket', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n';
    (await upstream.next()).write(`${CONTINUE}${hints}${SWITCHED}frame`);
    expect(await caller.until('frame')).toMatch(/^HTTP\/1\.1 101 /);
  });

  it('with a head of 40 KiB opens the WebSocket', async () => {
    const { sidecar, upstream } = await stage();
    const caller = await callRaw(sidecar.port);
    caller.send(upgradeBytes(sidecar));
    const long = `x-a: ${'a'.repeat(40_960)}\r\n\r\n`;
    (await upstream.next()).write(`${SWITCHED.replace(/\r\n$/, long)}frame`);
    const text = await caller.until('frame');
    expect(text).toMatch(/^HTTP\/1\.1 101 /);
    expect(text).toContain(long);
  });
});
