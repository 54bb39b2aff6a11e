import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf, generateKey } from '../../src/keyring/key.ts';
import { type OwnMetrics, openOwnMetrics } from '../../src/litellm/own-metrics.ts';
import { createServers } from '../support/servers.ts';

const TEXT = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' };
const key = generateKey();
const { listen, endAll } = createServers();

interface Options {
  readonly signal?: AbortSignal;
  readonly accept?: string;
  readonly timeoutMs?: number;
  readonly mostBytes?: number;
  readonly keyField?: readonly [string, string];
}

const openAt = (origin: URL, options: Options = {}): Promise<OwnMetrics> =>
  openOwnMetrics({
    ...{ origin, rootPath: '/llm', host: 'gateway.example', accept: undefined },
    ...{ keyField: ['authorization', `Bearer ${key}`], signal: new AbortController().signal },
    ...options,
  });

const openWith = async (listener: RequestListener, options?: Options) =>
  await openAt(await listen(createServer(listener)), options);

const textOf = async (found: OwnMetrics): Promise<string> => {
  if ('fault' in found) throw new Error(found.fault);
  const chunks: Buffer[] = [];
  for await (const chunk of found.body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('latin1');
};

describe("LiteLLM's own metrics", () => {
  it('are asked for with the key, the Host and what the scraper accepts', async () => {
    const asked: { url: string | undefined; headers: IncomingHttpHeaders }[] = [];
    const found = await openWith(
      ({ url, headers }, response) => {
        asked.push({ url, headers });
        response.writeHead(200, TEXT).end('litellm_spend_metric_total 3\n');
      },
      { accept: 'application/openmetrics-text' },
    );
    expect(found).toMatchObject({ type: TEXT['content-type'] });
    expect(await textOf(found)).toBe('litellm_spend_metric_total 3\n');
    expect(asked).toEqual([
      {
        url: '/llm/metrics/',
        headers: {
          authorization: `Bearer ${key}`,
          host: 'gateway.example',
          accept: 'application/openmetrics-text',
          connection: 'close',
        },
      },
    ]);
  });

  it('are found without the slash, and no redirect is followed to anywhere else', async () => {
    const asked: (string | undefined)[] = [];
    const found = await openWith(({ url }, response) => {
      asked.push(url);
      if (url === '/llm/metrics') response.writeHead(200, TEXT).end('up 1\n');
      else response.writeHead(307, { location: 'http://evil.example/' }).end();
    });
    expect(await textOf(found)).toBe('up 1\n');
    expect(asked).toEqual(['/llm/metrics/', '/llm/metrics']);
  });

  it('come as they are made', async () => {
    let writer: ServerResponse | undefined;
    const found = await openWith((_request, response) => {
      writer = response.writeHead(200, TEXT);
      response.write(`# HELP ${'a'.repeat(200)}\n`);
    });
    if ('fault' in found) throw new Error(found.fault);
    const chunks = found.body[Symbol.asyncIterator]();
    const { value } = await chunks.next();
    expect(String(value)).toMatch(/^# HELP a+$/);
    writer?.end('up 1\n');
    let rest = '';
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) rest += next.value;
    expect(rest).toMatch(/^a*\nup 1\n$/);
  });
});

describe('a LiteLLM that has none to give', () => {
  const answers = (status: number, headers = {}, body = key): RequestListener => {
    return (_request, response) => void response.writeHead(status, headers).end(body);
  };

  it.each([
    ['refuses the key', answers(401), "LiteLLM refuses the sidecar's key"],
    ['has no such route', answers(404), /callbacks: \["prometheus"\]/],
    ['fails', answers(500), 'LiteLLM answered with 500'],
    ['sends everybody around', answers(307, { location: '/llm/metrics' }), /no metrics/],
    ['shows a page', answers(200, { 'content-type': 'text/html' }), /no metrics/],
    ['says no type', answers(200), /no metrics/],
    ['packs them', answers(200, { ...TEXT, 'content-encoding': 'gzip' }), /no metrics/],
    [
      'hangs up',
      (request: IncomingMessage) => void request.socket.destroy(),
      'LiteLLM does not answer',
    ],
    [
      'talks no HTTP',
      (request: IncomingMessage) => void request.socket.end(`SSH-2.0 ${key}\r\n`),
      'LiteLLM does not answer',
    ],
  ] as const)(
    'because it %s is a fault in words, without the key',
    async (_what, listener, says) => {
      const found = await openWith(listener);
      expect(found).toEqual({ fault: expect.stringMatching(says) });
      expect(JSON.stringify(found)).not.toContain(key);
    },
  );

  it('because nobody listens, or the key fits in no field', async () => {
    const origin = await listen(createServer());
    expect(await openAt(origin, { keyField: ['authorization', 'Bearer a\nb'] })).toEqual({
      fault: expect.stringMatching('cannot be asked'),
    });
    endAll();
    expect(await openAt(origin)).toEqual({ fault: 'LiteLLM does not answer' });
  });

  it('because it says nothing in time', async () => {
    const found = await openWith(() => undefined, { timeoutMs: 100 });
    expect(found).toEqual({ fault: 'LiteLLM did not answer within 0.1 s' });
  });
});

describe('an answer that breaks off', () => {
  const begin: RequestListener = (_request, response) => {
    response.writeHead(200, TEXT).write('a'.repeat(2000));
  };

  it.each([
    [
      'there',
      (_request, response) => {
        response.writeHead(200, { ...TEXT, 'content-length': 10_000 });
        response.write('a'.repeat(2000), () => response.destroy());
      },
      {},
    ],
    ['because it takes too long', begin, { timeoutMs: 200 }],
    ['because it is too much', begin, { mostBytes: 1999 }],
  ] as const satisfies readonly (readonly [string, RequestListener, Options])[])(
    '%s is not taken for the whole',
    async (_what, listener, options) => {
      await expect(textOf(await openWith(listener, options))).rejects.toThrow(/./);
    },
  );

  it('is asked for no more when the scraper goes', async () => {
    const gone = new AbortController();
    let isClosed: Promise<unknown> = Promise.resolve();
    const found = await openWith(
      (request, response) => {
        isClosed = once(response, 'close');
        begin(request, response);
      },
      { signal: gone.signal },
    );
    expect(found).toHaveProperty('body');
    gone.abort();
    await isClosed;
  });
});

describe('the key and its digest', () => {
  it('are masked wherever they stand, however the text is cut', async () => {
    const digest = Buffer.from(digestOf(key), 'base64url').toString('hex');
    const pieces = fc.array(fc.constantFrom(key, digest, 'api_key="', '"} 1\n', key.slice(0, 9)));
    await fc.assert(
      fc.asyncProperty(pieces, fc.array(fc.nat(300), { maxLength: 6 }), async (words, cuts) => {
        const text = words.join('');
        const found = await openWith(async (_request, response) => {
          response.writeHead(200, TEXT);
          const at = [0, ...cuts.toSorted((a, b) => a - b), text.length];
          for (const [index, from] of at.slice(0, -1).entries()) {
            const part = text.slice(from, at[index + 1]);
            // One write to a chunk, and each chunk is there before the next.
            if (part !== '') await new Promise((resolve) => response.write(part, resolve));
          }
          response.end();
        });
        const stars = (secret: string) => '*'.repeat(secret.length);
        const masked = text.replaceAll(key, stars(key)).replaceAll(digest, stars(digest));
        expect(await textOf(found)).toBe(masked);
      }),
      { numRuns: 60 },
    );
  });
});
