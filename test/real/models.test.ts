import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf, generateKey } from '../../src/keyring/key.ts';
import { ask, bodyOf } from '../support/ask.ts';
import { createLitellm } from '../support/litellm.ts';
import { type NamingProvider, startNamingProvider } from '../support/naming-provider.ts';
import { startSidecarProcess } from '../support/sidecar-process.ts';

/** What the client may use, and what stands in config.yaml beside that. */
const ALLOWED = ['mock', 'mock-2', 'mock-fails'];
const DENIED = ['evil', 'evil-2'];

interface Scene {
  readonly provider: NamingProvider;
  /** The sidecar with the key of a client, and LiteLLM with its own. */
  readonly client: { port: number; key: string };
  readonly litellm: { port: number; key: string };
}

const endings: (() => Promise<unknown>)[] = [];
let scene: Scene;

async function setScene(): Promise<Scene> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecar-models-'));
  endings.push(() => rm(folder, { recursive: true, force: true }));
  const provider = await startNamingProvider();
  endings.push(provider.stop);
  const [key, upstreamKey] = [generateKey(), generateKey()];
  const litellm = await createLitellm({
    folder: join(folder, 'litellm'),
    masterKey: upstreamKey,
    config: {
      model_list: [...ALLOWED, ...DENIED].map((model_name) => ({
        model_name,
        litellm_params: {
          ...{ model: `openai/${model_name}`, api_key: 'none', api_base: `${provider.url}/v1` },
          max_retries: 0,
        },
      })),
      router_settings: { num_retries: 0, disable_cooldowns: true },
      litellm_settings: { num_retries: 0, request_timeout: 20 },
      general_settings: { master_key: upstreamKey },
    },
    env: {},
  });
  endings.push(litellm.stop);
  await litellm.start();
  const home = join(folder, 'sidecar');
  await mkdir(home);
  const digest = `sha256:${Buffer.from(digestOf(key), 'base64url').toString('hex')}`;
  const clients = { ci: { keys: [digest], models: ['mock', 'mock-*'] } };
  await writeFile(join(home, 'clients.yaml'), JSON.stringify({ clients }));
  const sidecar = await startSidecarProcess(home, {
    ...{ SIDECAR_UPSTREAM: litellm.url, SIDECAR_UPSTREAM_KEY: upstreamKey },
    ...{ SIDECAR_CLIENTS: 'clients.yaml', LITELLM_MASTER_KEY: generateKey() },
  });
  endings.push(sidecar.stop);
  const portOf = (url: string): number => Number(new URL(url).port);
  return {
    provider,
    client: { port: portOf(sidecar.url), key },
    litellm: { port: portOf(litellm.url), key: upstreamKey },
  };
}

interface Asking {
  readonly path: string;
  readonly type: string | undefined;
  readonly coding: string | undefined;
  readonly body: Buffer;
  /** Where the body is cut into packets. */
  readonly cut: number;
}

/** Sends a request, and says how it was answered and which models the provider was asked for. */
async function send(to: { port: number; key: string }, asking: Asking) {
  const { path, type, coding, body, cut } = asking;
  const headers = {
    ...(type !== undefined && { 'content-type': type }),
    ...(coding !== undefined && { 'content-encoding': coding }),
    'content-length': body.length,
  };
  const asked = ask(to, { method: 'POST', path, headers });
  asked.request.write(body.subarray(0, cut % (body.length + 1)));
  await new Promise(setImmediate);
  asked.request.end(body.subarray(cut % (body.length + 1)));
  const response = await asked.answer;
  const text = String(await bodyOf(response));
  const refusal = response.headers['x-sidecar-refusal'];
  return { status: response.statusCode, refusal, text, reached: scene.provider.take() };
}

const isDenied = (name: string): boolean => !ALLOWED.includes(name);

/** A text in JSON, some of its letters as escapes. */
const written = (text: string): fc.Arbitrary<string> =>
  fc
    .oneof(
      { weight: 2, arbitrary: fc.constant([]) },
      fc.array(fc.boolean(), { minLength: text.length, maxLength: text.length }),
    )
    .map((which) => {
      const letters = [...text].map((letter, at) =>
        which[at] === true ? `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}` : letter,
      );
      return `"${letters.join('')}"`;
    });

const model = fc.constantFrom(...ALLOWED, ...DENIED);
const nameOrNames = fc.oneof(
  { weight: 4, arbitrary: model },
  fc.tuple(model, model).map((both) => both.join(',')),
  fc.tuple(model, model).map((both) => both.join(', ')),
);
const member = (name: string, value: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(written(name), value).map((both) => both.join(':'));
const list = fc.array(model, { minLength: 1, maxLength: 2 });
const json = (value: fc.Arbitrary<unknown>): fc.Arbitrary<string> =>
  value.map((each) => JSON.stringify(each));

const MODEL = member('model', nameOrNames.chain(written));
/** Members that may lead to another model, or look as if they did. */
const BESIDE = fc.oneof(
  MODEL,
  member('fallbacks', json(list)),
  member('fallbacks', json(list.map((models) => models.map((each) => ({ model: each }))))),
  member('fallbacks', json(fc.tuple(model, list).map(([from, to]) => [{ [from]: to }]))),
  member('context_window_fallbacks', json(list.map((to) => [{ 'mock-fails': to }]))),
  member('models', json(list)),
  member('extra_body', json(fc.record({ model }))),
  member('extra_body', json(fc.record({ models: list }))),
  member('tools', json(model.map((each) => [{ type: 'image_generation', model: each }]))),
  member('deployment_id', json(model)),
  member('target_model_names', json(model)),
  member('metadata', json(fc.record({ model, tags: list }))),
  member('user', json(model.map((each) => `"model":"${each}"`))),
  member('stop', json(list)),
);
const RESPONSES = '/v1/responses';
const MESSAGES = '"messages":[{"role":"user","content":"{\\"model\\":\\"evil\\"}"}]';
const REST = '"input":"hi","prompt":"hi","query":"hi","voice":"alloy","max_tokens":5';
const spaces = fc.constantFrom('', ' ', '\n\t');

const body = fc
  .tuple(fc.array(BESIDE, { maxLength: 3 }), fc.option(MODEL, { freq: 8 }), spaces)
  .chain(([beside, named, space]) =>
    fc
      .shuffledSubarray([...beside, ...(named === null ? [] : [named]), MESSAGES, REST], {
        minLength: beside.length + (named === null ? 2 : 3),
      })
      .map((members) => `{${space}${members.join(`${space},${space}`)}${space}}`),
  );

const path = fc.oneof(
  { weight: 4, arbitrary: fc.constant('/v1/chat/completions') },
  fc.constant('/v1/messages'),
  fc.constantFrom('/v1/embeddings', '/v1/completions', '/v1/images/generations'),
  fc.constantFrom('/v1/moderations', '/v1/audio/speech', '/v1/rerank', '/utils/token_counter'),
  fc.constant(RESPONSES),
  model.map((name) => `/v1/chat/completions?model=${name}`),
  model.map((name) => `/v1/embeddings?mod%65l=${name}`),
  model.map((name) => `/openai/deployments/${name}/chat/completions`),
  model.map((name) => `/engines/${name}/chat/completions`),
);

/** How a text becomes bytes. */
const BYTES: Readonly<Record<string, (text: string) => Buffer>> = {
  utf8: (text) => Buffer.from(text),
  utf16: (text) => Buffer.from(text, 'utf16le'),
  bom: (text) => Buffer.from(`\ufeff${text}`),
  utf16bom: (text) => Buffer.from(`\ufeff${text}`, 'utf16le'),
  gzip: (text) => gzipSync(text),
};

const asking: fc.Arbitrary<Asking> = fc
  .record({
    path,
    cut: fc.nat(),
    how: fc.oneof(
      { weight: 12, arbitrary: fc.constant('utf8') },
      fc.constantFrom(...Object.keys(BYTES)),
    ),
    type: fc.constantFrom(
      ...['application/json', 'application/json; charset=utf-16', 'text/plain', undefined],
      'application/x-www-form-urlencoded',
    ),
    text: body,
  })
  .map(({ how, text, ...rest }) => ({
    ...rest,
    coding: how === 'gzip' ? 'gzip' : undefined,
    body: BYTES[how]?.(text) ?? Buffer.alloc(0),
  }));

const partOf = ([name, value]: readonly [string, string]): string =>
  `--XX\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
const FILE =
  '--XX\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n' +
  'Content-Type: audio/wav\r\n\r\nname="model"\r\n\r\nevil\r\n';
const form: fc.Arbitrary<Asking> = fc
  .tuple(
    fc.array(fc.tuple(fc.constantFrom('model', 'model', 'language', 'model[]'), model), {
      minLength: 1,
      maxLength: 3,
    }),
    fc.nat(4),
    fc.nat(),
  )
  .map(([fields, at, cut]) => ({
    ...{ path: '/v1/audio/transcriptions', cut, coding: undefined },
    type: 'multipart/form-data; boundary=XX',
    body: Buffer.from(`${fields.map(partOf).toSpliced(at, 0, FILE).join('')}--XX--\r\n`),
  }));

describe('a client that may use some models only, before a real LiteLLM', () => {
  beforeAll(async () => {
    scene = await setScene();
  });
  afterAll(async () => {
    for (const end of endings.toReversed()) await end();
  });

  /** Asks both; returns whether LiteLLM alone came to a model that the client may not use. */
  async function compare(each: Asking): Promise<boolean> {
    const through = await send(scene.client, each);
    expect(through.reached.filter(isDenied)).toEqual([]);
    const alone = await send(scene.litellm, each);
    if (alone.reached.some(isDenied)) expect(through.refusal).toBe('model_denied');
    // What passes is answered as without the sidecar.
    if (through.refusal === undefined) expect(through.status).toBe(alone.status);
    return alone.reached.some(isDenied);
  }

  it.each([
    ['bodies', asking, 250],
    ['forms', form, 50],
  ] as const)('never reaches another one, with %s of any kind', async (_, arbitrary, numRuns) => {
    const counts = { evil: 0, served: 0 };
    await fc.assert(
      fc.asyncProperty(arbitrary, async (each) => {
        if (await compare(each)) counts.evil++;
        else counts.served++;
      }),
      { numRuns },
    );
    // The test could find something: without the sidecar many come to a model that is not allowed.
    expect(counts.evil).toBeGreaterThan(numRuns / 10);
    expect(counts.served).toBeGreaterThan(numRuns / 20);
  });

  const plain = (text: string, changes: Partial<Asking> = {}): Asking => ({
    ...{ path: '/v1/chat/completions', type: 'application/json', coding: undefined, cut: 0 },
    ...{ body: Buffer.from(text), ...changes },
  });

  it.each([
    ['in its place', `{"model":"mock",${MESSAGES}}`],
    ['behind everything', `{${MESSAGES},"model":"mock-2"}`],
    ['with escapes', `{${MESSAGES},"mod\\u0065l":"m\\u006fck"}`],
    ['with fallbacks', `{"model":"mock-fails","fallbacks":["mock-2"],${MESSAGES}}`],
    ['several', `{"model":"mock,mock-2",${MESSAGES}}`],
  ])('is served with a model that it may use: %s', async (_, text) => {
    const { status, reached } = await send(scene.client, plain(text));
    expect([status, reached.filter(isDenied)]).toEqual([200, []]);
    expect(reached).not.toEqual([]);
  });

  it.each([
    ['the last of two counts', `{"model":"mock","model":"evil",${MESSAGES}}`],
    ['it stands in the query', `{"model":"mock",${MESSAGES}}`, '/v1/chat/completions?model=evil'],
    ['it is a fallback', `{"model":"mock-fails","fallbacks":["evil"],${MESSAGES}}`],
    ['it is one of several', `{"model":"mock,evil",${MESSAGES}}`],
    ['it is a deployment', `{"model":"mock","deployment_id":"evil",${MESSAGES}}`],
    ['a provider would try others', `{"model":"mock","models":["evil"],${MESSAGES}}`],
    ['so, in another way', `{"model":"mock","extra_body":{"models":["evil"]},${MESSAGES}}`],
    [
      'it is of a tool',
      '{"model":"mock","tools":[{"type":"x","model":"evil"}],"input":""}',
      RESPONSES,
    ],
  ])('is refused where LiteLLM alone would use another: %s', async (_, text, at?: string) => {
    expect(await compare(plain(text, at === undefined ? {} : { path: at }))).toBe(true);
  });

  it.each(['/v1/models', '/models', '/v1/model/info', '/model/info', '/model_group/info'])(
    'sees no other on %s',
    async (at) => {
      const asked = ask(scene.client, { path: at, headers: { 'accept-encoding': 'gzip, br' } });
      asked.request.end();
      const text = String(await bodyOf(await asked.answer));
      const { data } = JSON.parse(text) as { data: unknown[] };
      expect(data).toHaveLength(ALLOWED.length);
      expect(text).not.toContain('evil');
    },
  );
});
