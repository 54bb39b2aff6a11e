import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { type CheckOptions, check } from '../../../src/cli/commands/check.ts';
import { Secret } from '../../../src/secret.ts';
import { capturedTerminal } from '../captured-terminal.ts';
import { type Answer, CHAT, json, modelList, startFakeGateway } from '../fake-gateway.ts';

const KEY = 'sk-a-key-for-the-tests';
const USUAL: CheckOptions = { models: [], stream: false, json: false, timeoutMs: 5000 };

async function run(
  answer: Answer,
  options: Partial<CheckOptions> = {},
  signal = new AbortController().signal,
) {
  await using gateway = await startFakeGateway(answer);
  const { terminal, written } = capturedTerminal();
  const target = { url: gateway.url, key: new Secret(KEY), keySource: 'the test' };
  const code = await check(terminal, target, { ...USUAL, ...options }, signal);
  return { code, received: gateway.received, ...written };
}

/** Lists models; `bad` fails as a provider does, the others answer. */
const mixed: Answer = ({ path, body }, response) => {
  if (path === '/v1/models') return json(response, 200, modelList('good', 'bad', 'openai/*'));
  if (body?.['model'] !== 'bad') return json(response, 200, CHAT);
  const message = 'litellm.AuthenticationError: AuthenticationError: Incorrect key.\nSecond line';
  return json(response, 401, { error: { message, code: '401' } });
};

test('a working and a failing model are both shown, and the exit code is 1', async () => {
  const { code, stdout, stderr, received } = await run(mixed);
  expect(code).toBe(1);
  expect(stdout).toMatch(/│ good +│ ok +│ +\d+ ms │ +\d+ ms │/);
  expect(stdout).toMatch(/│ bad +│ 401 AuthenticationError: Incorrect key\. Second line +│/);
  expect(stdout).toMatch(/│ openai\/\* +│ skipped: a pattern/);
  expect(stdout).toMatch(/\n1 of 3 ok, 1 failed, 1 skipped\n$/);
  expect(stderr).toMatch(/^sidecar: good: ok, \d+ ms$/m);
  expect(received.map(({ body }) => body?.['model'])).not.toContain('openai/*');
  expect(stdout + stderr).not.toContain('\u001b');
});

test('a model whose provider has no key is said with the variable, and is no failure', async () => {
  const message = 'Missing credentials. Please pass an `api_key`, or set `NVIDIA_NIM_API_KEY`.';
  const { code, stdout } = await run(({ path, body }, response) => {
    if (path === '/v1/models') return json(response, 200, modelList('good', 'nvidia'));
    if (body?.['model'] === 'good') return json(response, 200, CHAT);
    return json(response, 500, { error: { message, code: '500' } });
  });
  expect(code).toBe(0);
  expect(stdout).toMatch(/│ nvidia +│ skipped: NVIDIA_NIM_API_KEY is not set for LiteLLM/);
});

test('each request is tiny, presents the key and says who asks', async () => {
  const { code, received, stdout, stderr } = await run(mixed, { models: ['good'] });
  expect(code).toBe(0);
  const [list, chat] = received;
  expect(list?.headers).toMatchObject({ authorization: `Bearer ${KEY}` });
  expect(chat?.headers['user-agent']).toMatch(/^litellm-sidecar-check\/\d/);
  expect(chat?.body).toMatchObject({ model: 'good', max_tokens: 16, stream: false });
  expect(stdout + stderr).not.toContain(KEY);
});

test('each model is asked for what it is for, and what is not tried is said', async () => {
  const answers: Record<string, unknown> = {
    '/v1/responses': { output: [{}] },
    '/v1/embeddings': { data: [{ embedding: 'AAAA' }] },
    '/v1/rerank': { results: [{ index: 0 }] },
    '/v1/images/generations': { data: [{ url: 'x' }] },
    '/v1/audio/transcriptions': { text: '' },
    '/v1/chat/completions': CHAT,
  };
  const modes = {
    ...{ chatty: 'chat', new: 'responses', vectors: 'embedding', order: 'rerank' },
    ...{ painter: 'image_generation', ears: 'audio_transcription', voice: 'audio_speech' },
    ...{ film: 'video_generation', unsaid: undefined },
  };
  const data = Object.entries(modes).map(([id, mode]) => ({ id, mode }));
  const { code, stdout, received } = await run(
    ({ path }, response) => {
      if (path === '/v1/models') return json(response, 200, { data });
      if (path in answers) return json(response, 200, answers[path]);
      response.writeHead(200, { 'content-type': 'audio/mpeg' });
      return void response.end('ID3');
    },
    { stream: false },
  );
  const asked = received.slice(1).map(({ path, body, text }) => {
    return [body?.['model'] ?? /name="model"\s+(\w+)/.exec(text)?.[1], path];
  });
  expect(Object.fromEntries(asked)).toEqual({
    chatty: '/v1/chat/completions',
    new: '/v1/responses',
    vectors: '/v1/embeddings',
    order: '/v1/rerank',
    painter: '/v1/images/generations',
    ears: '/v1/audio/transcriptions',
    voice: '/v1/audio/speech',
    unsaid: '/v1/chat/completions',
  });
  expect(stdout).toMatch(/│ vectors +│ ok, embedding +│/);
  expect(stdout).toMatch(/│ film +│ skipped: it is for video_generation, which is not tried +│/);
  expect(stdout).toMatch(/\n8 of 9 ok, 1 skipped\n$/);
  expect(code).toBe(0);
});

test('only chats are asked for streams', async () => {
  const { received } = await run(
    ({ path }, response) => {
      const data = [{ id: 'vectors', mode: 'embedding' }];
      return json(response, 200, path === '/v1/models' ? { data } : { data: [{}] });
    },
    { stream: true },
  );
  expect(received[1]?.body).not.toHaveProperty('stream');
});

test('no more than eight are asked at once', async () => {
  const names = Array.from({ length: 20 }, (_, n) => `model-${n}`);
  const waiting: ServerResponse[] = [];
  const counts: number[] = [];
  let left = names.length;
  const { code } = await run(({ path }, response) => {
    if (path === '/v1/models') return json(response, 200, modelList(...names));
    waiting.push(response);
    if (waiting.length !== Math.min(8, left)) return undefined;
    // A ninth would come within this time, since nothing else is awaited.
    return void setTimeout(() => {
      left -= waiting.length;
      counts.push(waiting.length);
      for (const one of waiting.splice(0)) json(one, 200, CHAT);
    }, 150);
  });
  expect(code).toBe(0);
  expect(counts).toEqual([8, 8, 4]);
});

const events = (response: ServerResponse, ...data: readonly string[]): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  response.end(data.map((one) => `data: ${one}\n\n`).join(''));
};

test.each([
  ['complete', ['{"choices":[{}]}', '[DONE]'], 0, 'ok'],
  ['cut', ['{"choices":[{}]}'], 1, 'the stream ended without [DONE]'],
  ['broken', ['{"error":{"message":"gone"}}', '[DONE]'], 1, 'gone'],
] as const)('a stream that is %s', async (_case, data, exit, words) => {
  const { code, stdout, received } = await run(
    ({ path }, response) => {
      if (path === '/v1/models') return json(response, 200, modelList('m'));
      return events(response, ...data);
    },
    { stream: true },
  );
  expect(code).toBe(exit);
  expect(stdout).toContain(words);
  expect(stdout).toContain('first event');
  expect(received[1]?.body).toMatchObject({ stream: true });
});

test('an answer that is no stream though one was asked for is a failure', async () => {
  const { code, stdout } = await run(mixed, { stream: true, models: ['good'] });
  expect(code).toBe(1);
  expect(stdout).toContain('asked for a stream, got application/json');
});

test('--json gives one document on stdout', async () => {
  const { code, stdout } = await run(mixed, { json: true });
  expect(code).toBe(1);
  const document = JSON.parse(stdout) as { models: unknown[] };
  expect(document).toMatchObject({ passed: false, ok: 1, failed: 1, skipped: 1 });
  expect(document.models[1]).toMatchObject({ model: 'bad', state: 'failed', status: 401 });
});

test('a refusal shows the code of the sidecar and what to do', async () => {
  const { code, stdout, stderr } = await run((_received, response) =>
    json(response, 401, { error: { message: 'no' } }, { 'x-sidecar-refusal': 'unknown_key' }),
  );
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^sidecar: the gateway refuses to list its models \(unknown_key\) \(http/);
  expect(stderr).toMatch(/hint: the key is another gateway's/);
});

test('a problem is in the json document too', async () => {
  const { stdout } = await run(
    (_received, response) => json(response, 503, {}, { 'x-sidecar-refusal': 'draining' }),
    { json: true },
  );
  expect(JSON.parse(stdout)).toMatchObject({
    passed: false,
    models: [],
    problem: { refusal: 'draining' },
  });
});

test.each([
  ['no model', 200, { data: [] }, 'the gateway lists no model', 'model_list'],
  ['no list', 200, { hello: 1 }, 'is no list of models', 'SIDECAR_PORT'],
  ['another server', 404, { detail: 'Not Found' }, '404 Not Found', 'no sidecar gave this answer'],
  ['a redirect', 302, {}, '302 without an error message', 'no sidecar gave this answer'],
  ['a broken LiteLLM', 500, { error: { message: 'db' } }, '500 db', "litellm's own log"],
] as const)('%s is told with a hint', async (_case, status, body, message, hint) => {
  const { code, stderr } = await run((_received, response) => json(response, status, body));
  expect(code).toBe(1);
  expect(stderr.split('\n')[0]).toContain(message);
  expect(stderr).toMatch(new RegExp(`^ {2}hint: .*${hint}`, 'm'));
});

test('a redirect is not followed: the key is for nobody else', async () => {
  const { code, received } = await run(({ path }, response) => {
    if (path === '/v1/models') return json(response, 307, {}, { location: '/elsewhere' });
    return json(response, 200, modelList('m'));
  });
  expect(code).toBe(1);
  expect(received.map(({ path }) => path)).toEqual(['/v1/models']);
});

test('a gateway that is down is told with the way to start it', async () => {
  const gateway = await startFakeGateway(() => undefined);
  await gateway[Symbol.asyncDispose]();
  const { terminal, written } = capturedTerminal();
  const target = { url: gateway.url, key: new Secret(KEY), keySource: 'the test' };
  expect(await check(terminal, target, USUAL, new AbortController().signal)).toBe(1);
  expect(written.stderr).toMatch(/nothing listens there \(http:\/\/127\.0\.0\.1:\d+\//);
  expect(written.stderr).toContain('docker compose up');
});

test('a model that takes too long is one failure among the others', async () => {
  const { code, stdout } = await run(
    ({ path, body }, response) => {
      if (path === '/v1/models') return json(response, 200, modelList('slow', 'quick'));
      return body?.['model'] === 'slow' ? undefined : json(response, 200, CHAT);
    },
    { timeoutMs: 300 },
  );
  expect(code).toBe(1);
  expect(stdout).toContain('no answer within 0.3 s');
  expect(stdout).toMatch(/│ quick +│ ok/);
});

test('Ctrl-C ends the requests and shows what is known', async () => {
  const controller = new AbortController();
  const closed: Promise<unknown>[] = [];
  const { code, stdout } = await run(
    ({ path, body }, response) => {
      if (path === '/v1/models') return json(response, 200, modelList('quick', 'slow'));
      if (body?.['model'] === 'quick') return json(response, 200, CHAT);
      closed.push(once(response, 'close'));
      setImmediate(() => controller.abort());
      return undefined;
    },
    {},
    controller.signal,
  );
  expect(code).toBe(130);
  expect(stdout).toMatch(/│ slow +│ not finished/);
  expect(closed).toHaveLength(1);
  await Promise.all(closed);
});
