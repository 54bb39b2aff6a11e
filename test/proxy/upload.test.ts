import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { createReplayBudget, Upload, type UploadRules } from '../../src/proxy/upload.ts';
import { createReceiver } from '../support/received.ts';

const receive = createReceiver();

function createUpload(
  request: IncomingMessage,
  changes: Partial<UploadRules> = {},
  length = request.headers['content-length'],
) {
  const onTooLarge = vi.fn();
  const rules = {
    replayBytes: 1000,
    budget: createReplayBudget(10_000),
    limit: 0,
    elapsed: () => 0,
    ...changes,
  };
  const upload = new Upload(request, length, rules, {
    startedAt: 0,
    tooLarge: onTooLarge,
    check: undefined,
  });
  return { upload, onTooLarge, rules };
}

/** Reads a stream until it gave this much. */
async function read(body: Buffer | Readable, bytes: number): Promise<string> {
  if (!(body instanceof Readable)) return String(body);
  let text = '';
  body.on('data', (chunk: Buffer) => {
    text += String(chunk);
  });
  while (text.length < bytes) await once(body, 'data');
  return text;
}

/** Resolves when a stream is over, in whichever way. */
const gone = (stream: Readable): Promise<void> =>
  new Promise((resolve) => {
    stream.once('close', resolve);
  });

describe('the budget for second tries', () => {
  it('gives no more than it has, and takes back', () => {
    const budget = createReplayBudget(10);
    expect([budget.take(6), budget.take(5), budget.take(4), budget.take(1)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
    budget.give(6);
    expect([budget.take(7), budget.take(6)]).toEqual([false, true]);
  });
});

describe('a body', () => {
  it('that came with its head goes up in one piece, and can go up again', async () => {
    const { request } = await receive('content-length: 4', 'body');
    const { upload } = createUpload(request);
    expect(upload.open()).toEqual(Buffer.from('body'));
    expect(upload.replayable).toBe(true);
    expect(upload.open()).toEqual(Buffer.from('body'));
    expect(upload.bytes).toBe(4);
  });

  it('that comes later goes up as it comes', async () => {
    const { request, client } = await receive('content-length: 6', 'one');
    const { upload } = createUpload(request);
    const body = upload.open() as Readable;
    expect(body).toBeInstanceOf(Readable);
    const ended = once(body, 'end');
    client.write('two');
    expect(await read(body, 6)).toBe('onetwo');
    await ended;
    expect(upload.bytes).toBe(6);
  });

  it('half sent starts from its beginning at the second try, and the request lives', async () => {
    const { request, client } = await receive('transfer-encoding: chunked', '3\r\none\r\n');
    const { upload } = createUpload(request, {}, undefined);
    const first = upload.open() as Readable;
    expect(await read(first, 3)).toBe('one');
    first.destroy();
    expect(upload.replayable).toBe(true);
    const second = upload.open();
    client.write('3\r\ntwo\r\n0\r\n\r\n');
    expect(await read(second, 6)).toBe('onetwo');
    expect(upload.bytes).toBe(6);
  });

  it('cut into chunks of one byte goes up in few pieces, at the second try too', async () => {
    const { request } = await receive('transfer-encoding: chunked', '1\r\nx\r\n'.repeat(900));
    const { upload } = createUpload(request, {}, undefined);
    const pieces: string[] = [];
    const first = upload.open() as Readable;
    first.on('data', (chunk: Buffer) => pieces.push(String(chunk)));
    while (pieces.join('').length < 900) await once(first, 'data');
    expect(pieces.length).toBeLessThan(20);
    const again: string[] = [];
    const second = upload.open() as Readable;
    second.on('data', (chunk: Buffer) => again.push(String(chunk)));
    while (again.join('').length < 900) await once(second, 'data');
    expect(again).toEqual(['x'.repeat(900)]);
  });

  it('loses no byte, whenever a try fails between its chunks', async () => {
    for (let failsAt = 1; failsAt <= 6; failsAt++) {
      const { request, client } = await receive('transfer-encoding: chunked', '1\r\na\r\n');
      const { upload } = createUpload(request, {}, undefined);
      const first = upload.open() as Readable;
      let chunks = 0;
      // Behind the listener of the body itself, in the turn in which the chunk came.
      request.on('data', () => ++chunks === failsAt && first.destroy());
      client.write(`${[...'bcdef'].map((byte) => `1\r\n${byte}\r\n`).join('')}0\r\n\r\n`);
      await gone(first.resume());
      expect(await read(upload.open(), 6)).toBe('abcdef');
    }
  });

  it('sent whole in pieces goes up whole at the second try', async () => {
    const { request, client } = await receive('transfer-encoding: chunked', '3\r\none\r\n');
    const { upload } = createUpload(request, {}, undefined);
    const first = upload.open() as Readable;
    const ended = once(first, 'end');
    client.write('3\r\ntwo\r\n0\r\n\r\n');
    await read(first, 6);
    await ended;
    expect(await read(upload.open(), 6)).toBe('onetwo');
  });

  it('of more than replayBytes is not kept, and its room is given back', async () => {
    const { request, client } = await receive('content-length: 1001', 'x');
    const { upload, rules } = createUpload(request);
    const body = upload.open();
    client.write('x'.repeat(1000));
    await read(body, 1001);
    expect(upload.replayable).toBe(false);
    expect(rules.budget.take(10_000)).toBe(true);
  });

  it('is not kept where the budget of all is used up', async () => {
    const { request, client } = await receive('content-length: 100', 'x');
    const { upload } = createUpload(request, { budget: createReplayBudget(50) });
    const body = upload.open();
    client.write('x'.repeat(99));
    await read(body, 100);
    expect(upload.replayable).toBe(false);
  });

  it('let go gives its room back, once', async () => {
    const { request } = await receive('content-length: 100', 'x'.repeat(60));
    const budget = createReplayBudget(100);
    const { upload } = createUpload(request, { budget });
    await read(upload.open(), 60);
    expect(budget.take(41)).toBe(false);
    upload.release();
    upload.release();
    expect([budget.take(101), budget.take(100)]).toEqual([false, true]);
    expect(upload.replayable).toBe(false);
  });

  it.each([
    ['in one piece', 'content-length: 11', 'x'.repeat(11)],
    ['in chunks', 'transfer-encoding: chunked', 'b\r\nxxxxxxxxxxx\r\n'],
  ])('above the limit, %s, is told once', async (_, head, bytes) => {
    const { request } = await receive(head, bytes);
    const { upload, onTooLarge } = createUpload(request, { limit: 10 });
    const body = upload.open();
    if (body instanceof Readable) await gone(body.resume());
    expect(onTooLarge).toHaveBeenCalledTimes(1);
    expect(request.destroyed).toBe(false);
  });

  it('is not read before it is opened, nor while nobody takes it', async () => {
    const { request, client } = await receive('content-length: 10000000', 'x');
    const { upload } = createUpload(request);
    client.write(Buffer.alloc(9_999_999));
    while (request.socket.bytesRead < 60_000) await new Promise(setImmediate);
    expect(upload.bytes).toBe(0);
    const body = upload.open() as Readable;
    await once(body, 'readable');
    body.read(1);
    while (!request.isPaused()) await new Promise(setImmediate);
    expect(upload.bytes).toBeLessThan(1_000_000);
    // Not the client is waited for, but whoever should take it.
    expect(upload.waitsForClient).toBe(false);
    body.destroy();
  });

  it('whose client leaves breaks off', async () => {
    const { request, client } = await receive('content-length: 100', 'half');
    const { upload } = createUpload(request);
    const body = upload.open() as Readable;
    await read(body, 4);
    expect(upload.waitsForClient).toBe(true);
    client.destroy();
    await gone(body);
    expect(body.errored?.message).toContain('left');
  });
});
