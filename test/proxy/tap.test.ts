import { randomBytes } from 'node:crypto';
import * as zlib from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { createTap, type TapOwner, usesUntold } from '../../src/proxy/tap.ts';
import { readAnswer } from '../support/answers.ts';

const head = (encoding = '', eventStream = false, cost = '') => ({ encoding, eventStream, cost });
const JSON_BODY = readAnswer('chat-json').body;
const SSE_BODY = readAnswer('chat-sse').body;
const TOKENS = { input: 120, output: 30, cached: 40, cacheWrite: 0, reasoning: 0 };
const FOUND = { usage: { tokens: TOKENS }, usageFault: undefined, unsaid: false };
const FAULT = (usageFault: string) => ({ usage: undefined, usageFault, unsaid: true });
const newOwner = (model = ''): TapOwner => ({
  ...{ usage: undefined, usageFault: undefined, unsaid: false, chunks: 0, model },
});

/** What a tap tells of these pieces of an answer. */
async function told(
  pieces: readonly Buffer[],
  of: ReturnType<typeof head>,
  { whole = true, says = 'always' as 'always' | 'maybe' } = {},
): Promise<TapOwner> {
  const owner = newOwner('mock');
  const tap = createTap(says, of);
  for (const piece of pieces) tap?.read(piece);
  await new Promise<void>((resolve) => {
    tap?.end(whole, owner, resolve);
  });
  return owner;
}

const split = (bytes: Buffer, size: number): Buffer[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) =>
    bytes.subarray(n * size, (n + 1) * size),
  );

const ENCODINGS: [string, (body: Buffer) => Buffer][] = [
  ['gzip', zlib.gzipSync],
  ['X-Gzip ', zlib.gzipSync],
  ['deflate', zlib.deflateSync],
  ['br', zlib.brotliCompressSync],
];
if ('zstdCompressSync' in zlib)
  ENCODINGS.push(['zstd', zlib.zstdCompressSync as typeof zlib.gzipSync]);

describe('a request of which no answer can tell what it used', () => {
  const ok = { isUnanswered: false, refusal: undefined, status: 200 };
  const left = { ...ok, isUnanswered: true, status: 0 };
  const late = { ...ok, refusal: 'upstream_timeout', status: 504 } as const;
  const brokenOff = { ...ok, refusal: 'upstream_failed', status: 502 } as const;
  const refused = { ...ok, refusal: 'model_denied', status: 403 } as const;
  const failed = { ...ok, status: 500 };
  it.each([
    ['always', [left, late, brokenOff], [ok, refused, failed]],
    ['maybe', [left, late, brokenOff], [ok, refused, failed]],
    ['unsaid', [left, late, brokenOff, ok], [refused, failed]],
    ['never', [], [left, late, brokenOff, ok, refused, failed]],
  ] as const)('where its answer says a usage %s', (says, may, not) => {
    for (const end of may) expect(usesUntold(says, end), JSON.stringify(end)).toBe(true);
    for (const end of not) expect(usesUntold(says, end), JSON.stringify(end)).toBe(false);
  });
});

describe('a tap', () => {
  it('is none where the answer says no usage', () => {
    expect(createTap('never', head())).toBeUndefined();
    expect(createTap('unsaid', head())).toBeUndefined();
  });

  it('tells of an answer at once what it says', () => {
    const owner = newOwner();
    let done = 0;
    const tap = createTap('always', head('', true));
    tap?.read(SSE_BODY);
    tap?.end(true, owner, () => done++);
    expect(owner).toMatchObject({ usage: { tokens: TOKENS, costUsd: 0.00055 }, chunks: 5 });
    expect(done).toBe(1);
  });

  it('takes the price from the head', async () => {
    const { usage } = await told([JSON_BODY], head('', false, '0.25'));
    expect(usage?.costUsd).toBe(0.25);
  });

  it('tells the price alone where there are no tokens, beside the fault', async () => {
    const none = { tokens: { ...TOKENS, input: 0, output: 0, cached: 0 }, costUsd: 0.04 };
    const picture = [Buffer.from('{"data":[]}')];
    const maybe = await told(picture, head('', false, '0.04'), { says: 'maybe' });
    expect(maybe).toMatchObject({ usage: none, usageFault: undefined });
    const always = await told(picture, head('', false, '0.04'));
    expect(always).toMatchObject({ usage: none, usageFault: 'absent' });
    expect(await told(picture, head('', false, '0'))).toMatchObject(FAULT('absent'));
  });

  it('misses no usage where there need not be one, and notes a lie', async () => {
    const maybe = { says: 'maybe' } as const;
    const free = { usageFault: undefined, unsaid: false };
    expect(await told([], head(), maybe)).toMatchObject(free);
    expect(await told([], head('lzw'), maybe)).toMatchObject(free);
    expect(await told([Buffer.from('{"data":[]}')], head(), maybe)).toMatchObject(free);
    const lie = [Buffer.from('{"usage":{"input_tokens":-1}}')];
    expect(await told(lie, head(), maybe)).toMatchObject(FAULT('invalid'));
  });

  it('knows of what was left that it may have used something, wherever it may say so', async () => {
    const maybe = { says: 'maybe', whole: false } as const;
    const left = { usage: undefined, usageFault: undefined, unsaid: true };
    expect(await told([JSON_BODY.subarray(0, 40)], head(), maybe)).toMatchObject(left);
    expect(await told([SSE_BODY.subarray(0, 40)], head('', true), maybe)).toMatchObject(left);
    expect(await told([JSON_BODY], head('lzw'), maybe)).toMatchObject(left);
    // The usage had come.
    expect(await told([SSE_BODY], head('', true), maybe)).toMatchObject(FOUND);
  });

  it.each(ENCODINGS)('decodes %s aside', async (encoding, encode) => {
    for (const size of [1, 50, 10_000]) {
      expect(await told(split(encode(JSON_BODY), size), head(encoding))).toMatchObject(FOUND);
      const stream = await told(split(encode(SSE_BODY), size), head(encoding, true));
      expect(stream).toMatchObject({ ...FOUND, chunks: 5 });
    }
  });

  it.each([
    ['gzip', zlib.gzipSync],
    ['deflate', zlib.deflateSync],
  ])('is not waited for where something stands behind the end of %s', async (encoding, encode) => {
    const owner = newOwner();
    const tap = createTap('always', head(encoding));
    tap?.read(Buffer.concat([encode(JSON_BODY), Buffer.from('\0\0behind')]));
    // It is decoded before the answer ends.
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
    await new Promise<void>((resolve) => {
      tap?.end(true, owner, resolve);
    });
    expect(owner).toMatchObject(FOUND);
  });

  it('takes what is encoded as it is for what it is', async () => {
    expect(await told([JSON_BODY], head('identity'))).toMatchObject(FOUND);
  });

  it('decodes few at a time, and others again when those are over', async () => {
    const body = zlib.gzipSync(JSON_BODY);
    const all = await Promise.all(Array.from({ length: 80 }, () => told([body], head('gzip'))));
    const read = all.filter(({ usage }) => usage !== undefined);
    expect(read.length).toBe(64);
    expect(all.filter(({ usageFault }) => usageFault === 'encoding')).toHaveLength(16);
    expect(await told([body], head('gzip'))).toMatchObject(FOUND);
  });

  it.each(ENCODINGS)('takes a part of %s for a part', async (encoding, encode) => {
    const part = encode(SSE_BODY).subarray(0, 60);
    expect(await told([part], head(encoding, true), { whole: false })).toMatchObject(FAULT('cut'));
    expect(await told([part], head(encoding, true))).toMatchObject(FAULT('encoding'));
  });

  it.each(['gzip', 'deflate', 'br', 'zstd', 'lzw', 'gzip, br', '\u00e9'])(
    'gives up at what is no %s',
    async (encoding) => {
      const pieces = ['This is ', 'no encoding. '.repeat(100)].map((text) => Buffer.from(text));
      expect(await told(pieces, head(encoding))).toMatchObject(FAULT('encoding'));
    },
  );

  it('gives up at a bomb', async () => {
    const bomb = zlib.gzipSync(Buffer.alloc(100 * 1024 * 1024, '{"a":1} '));
    expect(bomb.length).toBeLessThan(200_000);
    expect(await told(split(bomb, 16_384), head('gzip'))).toMatchObject(FAULT('encoding'));
  });

  it('gives up where more comes than it can decode', async () => {
    const noise = zlib.gzipSync(randomBytes(4 * 1024 * 1024));
    expect(await told(split(noise, 65_536), head('gzip'))).toMatchObject(FAULT('encoding'));
  });
});
