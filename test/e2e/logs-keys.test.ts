import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { adminCall } from '../support/admin.ts';
import { get } from '../support/ask.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { recordKey } from '../support/key-ledger.ts';
import { type Artefact, describeFind, findKeys, type Kind } from '../support/key-search.ts';
import { callRaw } from '../support/raw-caller.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages } from '../support/stage.ts';

const stage = createStages();
/** As it is where nobody says anything; tests have none. */
const USAGE_IS_KEPT = { SIDECAR_USAGE_KEEP: undefined };
const TOKEN = 'a-token-of-the-admin-0123456789abcdef';

/** Keys as the sidecar makes them, and as people do: `openssl rand`, providers, tokens. */
const MAKERS = {
  made: generateKey,
  hex: () => `sk-${randomBytes(24).toString('hex')}`,
  short: () => `sk-${randomBytes(9).toString('hex')}`,
  openai: () => `sk-proj-${randomBytes(40).toString('base64url')}`,
  anthropic: () => `sk-ant-api03-${randomBytes(40).toString('base64url')}`,
  google: () => `AIza${randomBytes(26).toString('hex').slice(0, 35)}`,
  groq: () => `gsk_${randomBytes(26).toString('hex')}`,
} as const;
const made: string[] = [];
const thrown = fc.record({
  maker: fc.constantFrom(...(Object.keys(MAKERS) as (keyof typeof MAKERS)[])),
  before: fc.constantFrom<string[]>(
    '',
    '',
    'Bearer ',
    'x-',
    '/',
    '?key=',
    '"',
    '%22',
    '{"a":"',
    ' ',
    '=',
  ),
  after: fc.constantFrom<string[]>('', '', '/', '&b=1', '"', '"}', ' ', '\\', ';q=1', '-1'),
});
type Thrown = typeof thrown extends fc.Arbitrary<infer T> ? T : never;

/** A new key in its surroundings: what is found later was thrown at this place. */
function throwKey({ maker, before, after }: Thrown): string {
  const key = MAKERS[maker]();
  recordKey(key);
  made.push(key);
  return before + key + after;
}

/** What a sidecar says and keeps, after all that was thrown at it. */
async function artefactsOf(sidecar: Sidecar, answers: readonly string[]): Promise<Artefact[]> {
  const asked = ['status', 'clients', 'audit', 'config', 'upstream', 'usage'];
  asked.push('usage?by=model', 'generations/master-1/who');
  const views = asked.map(async (path) => {
    const { status, body } = await adminCall(sidecar, 'GET', `/api/${path}`);
    expect(status).toBe(200);
    return [`/api/${path}`, 'usage', JSON.stringify(body)] as const;
  });
  const metrics = await sidecar.metrics();
  await sidecar.drain();
  const files = (['audit.jsonl', 'keyring.json', 'usage.json', 'usage.db'] as const).map(
    async (name) => {
      const text = await readFile(join(sidecar.state, name), 'utf8').catch(() => '');
      return [name, name === 'keyring.json' ? 'keyring' : 'usage', text] as const;
    },
  );
  const all: (readonly [string, Kind, string])[] = [
    ['the log', 'log', sidecar.logText()],
    ['/metrics', 'metrics', metrics],
    ...answers.map((text) => ['an answer', 'error body', text] as const),
    ...(await Promise.all([...views, ...files])),
  ];
  return all.map(([name, kind, text]) => ({ name, kind, text, test: 'this' }));
}

function expectNoKey(keys: readonly string[], artefacts: readonly Artefact[]): void {
  const finds = findKeys(
    keys.map((key) => ({ key, test: 'this' })),
    artefacts,
  );
  expect(finds.map(describeFind)).toEqual([]);
}

/** Where a client may put a key by mistake: what it sends. */
const PLACES = [
  ...['path', 'query', 'method', 'version', 'field', 'body', 'host', 'user-agent', 'x-request-id'],
  ...['traceparent', 'tracestate', 'authorization', 'x-api-key', 'x-litellm-api-key', 'cookie'],
  ...['origin', 'access-control-request-method', 'x-forwarded-for', 'x-forwarded-host', 'expect'],
  ...['x-litellm-end-user-id', 'x-litellm-call-id', 'content-type', 'content-length', 'connection'],
  ...['sec-websocket-protocol', 'mcp-session-id', 'transfer-encoding', 'upgrade', 'referer'],
] as const;
type Place = (typeof PLACES)[number];

function requestWith(place: Place, text: string, key: string, websocket: boolean): string {
  const target = (path: string): string =>
    ({ path: `${path}/${text}`, query: `${path}?a=${text}` })[place as string] ?? path;
  const method = place === 'method' ? text : websocket ? 'GET' : 'POST';
  const path = target(websocket ? '/v1/realtime' : '/v1/chat/completions');
  const body = place === 'body' ? JSON.stringify({ model: text, messages: text }) : '{}';
  const upgrade = ['connection: Upgrade', 'upgrade: websocket', 'sec-websocket-version: 13'];
  const fields = [
    ...(place === 'host' ? [] : ['host: gateway']),
    ...(place === 'authorization' ? [] : [`authorization: Bearer ${key}`]),
    ...(place === 'field' ? [`${text}: 1`] : []),
    ...(/[-aeiou]/.test(place) && !/^(?:path|query|method|version|field|body)$/.test(place)
      ? [`${place}: ${text}`]
      : []),
    ...(websocket
      ? [...upgrade, 'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==']
      : place === 'content-length'
        ? []
        : [`content-length: ${Buffer.byteLength(body)}`]),
  ];
  const version = place === 'version' ? text : 'HTTP/1.1';
  return [`${method} ${path} ${version}`, ...fields, '', websocket ? '' : body].join('\r\n');
}

it('no key that a client puts anywhere is logged, counted, kept or told', async () => {
  const { sidecar } = await stage({
    script: (peer) => peer.answer('404 Not Found', '{}', 'connection: close'),
    settings: {
      ...USAGE_IS_KEPT,
      SIDECAR_TRUSTED_PROXIES: '127.0.0.0/8',
      SIDECAR_FAILURES_PER_MINUTE: '0',
    },
  });
  const answers: string[] = [];
  const place = fc.constantFrom(...PLACES);
  await fc.assert(
    fc.asyncProperty(place, thrown, fc.boolean(), fc.boolean(), async (at, key, good, ws) => {
      const stranger = generateKey();
      const caller = await callRaw(sidecar.port);
      caller.send(requestWith(at, throwKey(key), good ? sidecar.key : stranger, ws));
      // A request that lacks something, such as its end, is not waited for.
      await Promise.race([caller.ended, caller.until(/\r\n\r\n/), afterMs(200)]).catch(() => '');
      caller.leave();
      // Of LiteLLM's own answers the sidecar passes on what they say.
      if (!/x-sidecar-refusal/.test(caller.received)) return;
      // A browser is told its own Origin again (CORS), and nobody else is.
      answers.push(caller.received.replace(/^access-control-allow-origin:.*$/im, ''));
    }),
    { numRuns: 300 },
  );
  await get(sidecar);
  expect(answers.length).toBeGreaterThan(50);
  expect(sidecar.accessLines().length).toBeGreaterThan(150);
  expectNoKey([...made, sidecar.key, sidecar.upstreamKey], await artefactsOf(sidecar, answers));
});

const afterMs = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/** What a LiteLLM may say with a key in it: names, numbers, texts, and no HTTP at all. */
const SAYINGS: Readonly<Record<string, (peer: Peer, text: string) => unknown>> = {
  reason: (peer, text) => peer.answer(`500 ${text}`, '{}'),
  model: (peer, text) => peer.answer('200 OK', '{}', `x-litellm-model-group: ${text}`),
  call: (peer, text) => peer.answer('200 OK', '{}', `x-litellm-call-id: ${text}`),
  provider: (peer, text) => peer.answer('200 OK', '{}', `request-id: ${text}`),
  time: (peer, text) => peer.answer('200 OK', '{}', `x-litellm-response-duration-ms: ${text}`),
  cost: (peer, text) => peer.answer('200 OK', '{}', `x-litellm-response-cost: ${text}`),
  location: (peer, text) => peer.answer('302 Found', '', `location: http://other/${text}`),
  type: (peer, text) => peer.answer('200 OK', '{}', `content-type: ${text}`),
  usage: (peer, text) =>
    peer.answer('200 OK', JSON.stringify({ model: text, usage: { prompt_tokens: text } })),
  length: (peer, text) => {
    peer.write(`HTTP/1.1 200 OK\r\ncontent-length: ${text}\r\n\r\n`);
    peer.socket.end();
  },
  status: (peer, text) => {
    peer.write(`HTTP/1.1 ${text} OK\r\n\r\n`);
    peer.socket.end();
  },
  chunk: (peer, text) => {
    peer.head('200 OK', 'transfer-encoding: chunked');
    peer.write(`1\r\na\r\n${text}\r\n`);
    peer.socket.end();
  },
  nothing: (peer, text) => {
    peer.write(text);
    peer.socket.end();
  },
};

it('no key that LiteLLM says anywhere is logged, counted or kept', async () => {
  let say: (peer: Peer) => unknown = () => undefined;
  const { sidecar } = await stage({ script: (peer) => say(peer), settings: USAGE_IS_KEPT });
  const refusals: string[] = [];
  const saying = fc.constantFrom(...Object.keys(SAYINGS));
  await fc.assert(
    fc.asyncProperty(saying, thrown, fc.boolean(), async (name, key, websocket) => {
      const text = throwKey(key);
      say = (peer) => SAYINGS[name]?.(peer, text);
      const caller = await callRaw(sidecar.port);
      caller.send(requestWith('body', 'm', sidecar.key, websocket));
      await Promise.race([caller.ended, caller.until(/\r\n\r\n/)]).catch(() => '');
      caller.leave();
      if (/x-sidecar-refusal/.test(caller.received)) refusals.push(caller.received);
    }),
    { numRuns: 200 },
  );
  expect(refusals.length).toBeGreaterThan(20);
  expect(sidecar.logText()).toContain('abortReason');
  const artefacts = await artefactsOf(sidecar, refusals);
  const database = artefacts.find(({ name }) => name === 'usage.db');
  expect(database?.text).toContain('CREATE TABLE');
  expectNoKey([...made, sidecar.key, sidecar.upstreamKey], artefacts);
});

/** Requests of the admin API with a text in the place of each of its fields. */
const ADMIN: readonly ((
  text: string,
) => [string, string, (object | undefined)?, Record<string, string>?])[] = [
  (text) => ['POST', '/api/clients', { name: text }],
  (text) => ['POST', '/api/clients', { name: 'ci', scopes: [text] }],
  (text) => ['POST', '/api/clients', { name: 'ci', expires: text }],
  (text) => ['POST', '/api/clients', { name: 'ci', allowFrom: [text] }],
  (text) => ['POST', '/api/clients', { name: 'ci', namesEndUsers: text }],
  (text) => ['POST', '/api/clients', { name: 'ci', [text]: 1 }],
  (text) => ['POST', '/api/clients/master/rotate', { grace: text }],
  (text) => ['POST', '/api/clients/master/rotate', { compromised: text, force: text }],
  (text) => ['POST', `/api/clients/${encodeURIComponent(text)}/rotate`, {}],
  (text) => ['DELETE', `/api/clients/${encodeURIComponent(text)}`],
  (text) => ['POST', `/api/generations/${encodeURIComponent(text)}/revoke`, {}],
  (text) => ['GET', `/api/generations/${encodeURIComponent(text)}/who`],
  (text) => ['GET', `/api/audit?after=${encodeURIComponent(text)}`],
  (text) => ['GET', `/api/audit?${encodeURIComponent(text)}=1`],
  (text) => ['GET', `/api/upstream/handovers/${encodeURIComponent(text)}`],
  (text) => ['POST', '/api/upstream/reload', { dryRun: text }],
  (text) => ['GET', `/api/${encodeURIComponent(text)}`],
  (text) => ['GET', '/api/status', undefined, { 'x-sidecar-actor': text.trim() }],
  (text) => ['GET', '/api/status', undefined, { origin: text.trim() }],
  (text) => ['POST', '/api/clients', { name: 'ci' }, { 'content-type': text.trim() }],
  (text) => ['POST', '/api/clients', { name: '-' }, { 'idempotency-key': text.trim() }],
];

it('no key that an operator sends to the wrong place is logged, kept or told', async () => {
  const { sidecar } = await stage({ settings: { SIDECAR_ADMIN_TOKEN: TOKEN } });
  const answers: string[] = [];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...ADMIN), thrown, async (made, key) => {
      const [method, path, body, headers = {}] = made(throwKey(key));
      const more = { ...(body !== undefined && { body }), headers };
      const { body: said } = await adminCall(sidecar, method, path, more);
      answers.push(JSON.stringify(said));
    }),
    { numRuns: 300 },
  );
  // Who changes something is in the audit, by its own word.
  for (const maker of Object.keys(MAKERS) as (keyof typeof MAKERS)[]) {
    for (const before of ['', 'alice-']) {
      const actor = throwKey({ maker, before, after: '' });
      const headers = { 'x-sidecar-actor': actor };
      await adminCall(sidecar, 'POST', '/api/clients/master/rotate', { body: {}, headers });
      await adminCall(sidecar, 'POST', '/api/clients/master/rollback', { body: {}, headers });
    }
  }
  // A wrong token on the ops port, and one that is a key.
  for (const token of [generateKey(), throwKey({ maker: 'hex', before: '', after: '' })]) {
    const asked = await fetch(`http://127.0.0.1:${sidecar.opsPort}/api/status?token=${token}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    answers.push(await asked.text());
  }
  expectNoKey([...made, TOKEN, sidecar.upstreamKey], await artefactsOf(sidecar, answers));
});
