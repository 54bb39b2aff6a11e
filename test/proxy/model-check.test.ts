import * as zlib from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type Decision, decide } from '../../src/proxy/decide.ts';
import type { BodyCheck } from '../../src/proxy/model-check.ts';
import type { Refusal } from '../../src/refusal.ts';
import { headOf } from '../support/heads.ts';
import { knownKey, policyWith, snapshotOf } from '../support/policies.ts';

const { gzipSync } = zlib;
const KEY = 'sk-of-a-client-with-models';
const policy = policyWith({
  admission: {
    ...policyWith().admission,
    keyring: snapshotOf([[KEY, knownKey('ci', { models: ['mock', 'gpt-4o*', 'a/b'] })]]),
  },
});

function judge(line: string, ...fields: string[]): Decision {
  const websocket = line.startsWith('WS ');
  const head = headOf(line.replace(/^WS /, 'GET '), [
    ...['Host: gateway', `Authorization: Bearer ${KEY}`],
    ...fields,
  ]);
  return decide(head, { address: '192.0.2.1', websocket }, policy);
}

const JSON_BODY = 'Content-Length: 9';

/** What becomes of a request: forwarded with its body scanned or without, or refused, and why. */
function verdict(line: string, ...fields: string[]): string {
  const decision = judge(line, ...fields);
  if (decision.kind === 'refuse') {
    expect(decision.refusal.code).toBe('model_denied');
    expect(decision.generation?.client).toBe('ci');
    return decision.refusal.message;
  }
  if (decision.kind !== 'forward') return decision.kind;
  if (decision.models?.isList === true) return 'list';
  return decision.models?.body === undefined ? 'forward' : 'scan';
}

describe('the head of a request', () => {
  it.each([
    ['POST /v1/chat/completions', 'scan'],
    ['POST /v1/audio/transcriptions', 'scan'],
    ['POST /v1/messages/count_tokens', 'scan'],
    ['POST /anthropic/v1/messages', 'scan'],
    ['POST /v1/chat/completions?model=mock', 'scan'],
    ['POST /v1/chat/completions?model=evil', '"evil"'],
    ['POST /v1/chat/completions?a=b&mod%65l=ev%69l', '"evil"'],
    ['POST /v1/chat/completions?model=mock&model=evil', '"evil"'],
    ['POST /v1/images/edits?fallbacks=mock', 'fallbacks'],
    ['POST /openai/deployments/gpt-4o/chat/completions', 'scan'],
    ['POST /openai/deployments/a%2Fb/chat/completions', 'scan'],
    // With a slash at its end LiteLLM hands it to the provider as it is.
    ['POST /openai/deployments/a%2Fb/chat/completions/', 'cannot be told'],
    ['POST /openai/deployments/evil/chat/completions', '"evil"'],
    ['POST /openai/deployments/mock/chat/completions/embeddings', '"mock/chat/completions"'],
    ['POST /engines/a/b/completions', 'scan'],
    ['POST /engines/evil/embeddings', '"evil"'],
    ['POST /v1beta/models/mock:generateContent', 'scan'],
    ['POST /v1beta/models/a/b:streamGenerateContent?alt=sse', 'scan'],
    ['POST /v1beta/models/evil:generateContent', '"evil"'],
    ['POST /v1beta/models/mock:generateContent/x:generateContent', '"mock:generateContent/x"'],
    ['POST /gemini/v1beta/models/evil:generateContent', '"evil"'],
    ['POST /gemini/v1beta/models/mock:generateContent', 'scan'],
    ['POST /gemini/v1beta/models/a%2Fb:generateContent', 'cannot be told'],
    [
      'POST /vertex_ai/v1/projects/p/locations/l/publishers/google/models/mock:generateContent',
      'scan',
    ],
    [
      'POST /vertex_ai/v1/projects/p/locations/l/publishers/google/models/evil:generateContent',
      '"evil"',
    ],
    ['POST /bedrock/model/mock/converse', 'scan'],
    ['POST /bedrock/model/evil/converse-stream', '"evil"'],
    ['GET /v1/models', 'list'],
    ['GET /v1/model/info?litellm_model_id=x', 'list'],
    ['GET /model_group/info', 'list'],
    ['GET /utils/model_info?model=mock', 'forward'],
    ['GET /utils/model_info?model=evil', '"evil"'],
    ['GET /utils/model_info', 'names none'],
    ['WS /v1/realtime?model=mock', 'forward'],
    ['WS /v1/realtime?model=mock&intent=x', 'forward'],
    ['WS /v1/realtime?model=evil', '"evil"'],
    ['WS /v1/realtime', 'names none'],
    ['WS /v1/realtime?intent=transcription', 'names none'],
    ['WS /v1/realtime?intent=transcription&deployment_id=mock', 'names none'],
    ['WS /v1/realtime?target_model_names=mock', 'names none'],
    ['WS /v1/realtime?models=mock&model[]=mock', 'names none'],
    ['WS /v1/realtime?deployment_id=evil&model=mock', '"evil"'],
    ['WS /v1/realtime??model=mock', 'names none'],
    ['WS /v1/realtime?model=', '""'],
    ['WS /v1/responses', 'cannot be told'],
    ['WS /v1/live/sessions?model=mock', 'cannot be told'],
    ['POST /mcp', 'forward'],
    ['POST /v1/traces', 'forward'],
    ['GET /health/liveness', 'health'],
    ['GET /v1/responses/resp_1', 'cannot be told'],
    ['POST /v1/files', 'cannot be told'],
    ['POST /v1/batches', 'cannot be told'],
    ['POST /v1/fine_tuning/jobs', 'cannot be told'],
    ['POST /v1/threads/t/runs', 'cannot be told'],
    ['POST /v1/videos/v/remix', 'cannot be told'],
    ['POST /a2a/agent', 'cannot be told'],
    ['POST /cursor/chat/completions', 'cannot be told'],
    ['POST /openai_passthrough/v1/chat/completions', 'cannot be told'],
    ['POST /vertex_ai/v1/x:generateContent', 'cannot be told'],
    ['POST /model/new', 'cannot be told'],
    ['GET /v1/models/evil', 'cannot be told'],
    ['GET /health', 'cannot be told'],
  ])('%s: %s', (line, expected) => {
    const fields = line.startsWith('POST') ? [JSON_BODY] : [];
    expect(verdict(line, ...fields)).toContain(expected);
  });

  it.each([
    [['X-LiteLLM-Model: evil'], '"evil"'],
    [['X-LiteLLM-Model: mock', 'x-litellm-model: evil'], '"evil"'],
    [['X-LiteLLM-Model: mock'], 'scan'],
    [['Content-Type: application/json; charset=utf-16'], 'scan'],
    [['Content-Type: text/plain'], 'scan'],
    [['Content-Type: multipart/form-data; boundary=a'], 'scan'],
    [['Content-Type: MULTIPART/form-data'], 'Content-Type'],
    [['Content-Type: multipart/form-data; boundary=a; boundary=b'], 'Content-Type'],
    [['Content-Type: application/x-www-form-urlencoded'], 'scan'],
    [['Content-Type: application/json', 'Content-Type: multipart/form-data; boundary=a'], 'twice'],
    [['Content-Type: application/json', 'Connection: content-type'], 'Connection'],
    [['Content-Encoding: gzip', 'Connection: Content-Encoding'], 'Connection'],
    [['Content-Type: application/json\x85'], 'ASCII'],
    [['Content-Encoding: identity'], 'scan'],
    [['Content-Encoding: GZIP'], 'scan'],
    [['Content-Encoding: x-gzip'], 'scan'],
    [['Content-Encoding: gzip', 'Content-Encoding: gzip'], 'twice'],
    [['Content-Encoding: gzip, gzip'], 'Content-Encoding'],
    [['Content-Encoding: br'], 'Content-Encoding'],
    [['Content-Encoding: deflate'], 'Content-Encoding'],
    [['Content-Encoding: gzip', 'Content-Type: multipart/form-data; boundary=a'], 'compressed'],
  ])('with %j: %s', (fields, expected) => {
    expect(verdict('POST /v1/chat/completions', JSON_BODY, ...fields)).toContain(expected);
  });

  it('without a body names a model in its path, or none', () => {
    expect(verdict('POST /v1/chat/completions')).toContain('names none');
    expect(verdict('POST /v1/chat/completions?model=mock')).toBe('forward');
    expect(verdict('POST /openai/deployments/mock/chat/completions')).toBe('forward');
  });

  it('is not looked at for a client without a list', () => {
    const head = headOf('POST /v1/batches?model=evil', ['Host: g', 'Authorization: Bearer sk-all']);
    const keyring = snapshotOf([['sk-all', knownKey('all')]]);
    const open = policyWith({ admission: { ...policy.admission, keyring } });
    const decision = decide(head, { address: '', websocket: false }, open);
    expect(decision).toMatchObject({ kind: 'forward', models: undefined });
  });

  it('is refused in words that fit a line, whatever the name', () => {
    const name = encodeURIComponent(`\u202e\u0007${'x'.repeat(5000)}`);
    const message = verdict(`POST /v1/chat/completions?model=${name}`, JSON_BODY);
    expect(message).toMatch(
      /^this key may not use the model "x{79}…": it may use mock, gpt-4o\*, a\/b$/,
    );
  });
});

/** A check of the body of a chat, and what it tells. */
function bodyCheck(...fields: string[]) {
  const decision = judge('POST /v1/chat/completions', JSON_BODY, ...fields);
  if (decision.kind !== 'forward') throw new Error('refused');
  const refusals: Refusal[] = [];
  let tell: (what: string) => void = () => undefined;
  const over = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const check = decision.models?.body?.((reason) => {
    refusals.push(reason);
    tell(reason.message);
  }) as BodyCheck;
  return { check, refusals, over, pass: () => tell('passed') };
}

describe('a body', () => {
  it('is judged at once where it is plain', () => {
    const { check, refusals } = bodyCheck();
    let passed = 0;
    check.read(Buffer.from('{"model":'));
    check.read(Buffer.from('"mock"}'));
    check.end(() => passed++);
    check.end(() => passed++);
    expect([passed, refusals]).toEqual([2, []]);
  });

  it.each([
    ['{"model":"evil"}', '"evil"'],
    ['{"messages":[]}', 'names none'],
    ['{"model":"mock"', 'does not end'],
    ['', 'empty'],
  ])('%s is refused once', (text, why) => {
    const { check, refusals } = bodyCheck();
    let passed = 0;
    if (text !== '') check.read(Buffer.from(text));
    check.end(() => passed++);
    check.read(Buffer.from('{"model":"evil"}'));
    check.end(() => passed++);
    expect(passed).toBe(0);
    expect(refusals.map(({ code }) => code)).toEqual(['model_denied']);
    expect(refusals[0]?.message).toContain(why);
  });

  it('has to name a model, as LiteLLM looks at a query on some routes only', () => {
    const decision = judge('POST /v1/messages?model=mock', JSON_BODY);
    if (decision.kind !== 'forward') throw new Error('refused');
    const told: string[] = [];
    const check = decision.models?.body?.(({ message }) => told.push(message));
    check?.read(Buffer.from('{"messages":[]}'));
    check?.end(() => told.push('passed'));
    expect(told).toEqual([expect.stringContaining('names none')]);
  });

  it('needs no model where its path names one, and may name no other', () => {
    const decision = judge('POST /openai/deployments/mock/chat/completions', JSON_BODY);
    if (decision.kind !== 'forward') throw new Error('refused');
    const told: string[] = [];
    const judged = (text: string): void => {
      const check = decision.models?.body?.(({ message }) => told.push(message));
      check?.read(Buffer.from(text));
      check?.end(() => told.push('passed'));
    };
    judged('{"messages":[]}');
    judged('{"model":"evil"}');
    expect(told).toEqual(['passed', expect.stringContaining('"evil"')]);
  });

  it.each([
    ['that may pass', gzipSync('{"model":"mock"}'), 'passed'],
    ['with another model', gzipSync('{"model":"evil"}'), '"evil"'],
    ['that is none', Buffer.from('{"model":"mock"}'), 'no gzip'],
    ['that is cut off', gzipSync('{"model":"mock"}').subarray(0, 20), 'no gzip'],
    ['of two members', Buffer.concat([gzipSync('{"model":"mock"}'), gzipSync('{}')]), 'behind'],
    ['that is a bomb', gzipSync(`{"a":"${'x'.repeat(40_000_000)}","model":"mock"}`), 'too large'],
    ['that says it is compressed twice', gzipSync(gzipSync('{"model":"mock"}')), 'no JSON object'],
    ['of a bomb of brackets', gzipSync('['.repeat(10_000_000)), 'no JSON object'],
  ])('in gzip %s', async (_, bytes, expected) => {
    const { check, refusals, over, pass } = bodyCheck('Content-Encoding: gzip');
    check.read(bytes);
    // A second try waits for the same verdict, and hears it alone.
    check.end(() => undefined);
    check.end(pass);
    expect(await over).toContain(expected);
    expect(refusals).toHaveLength(expected === 'passed' ? 0 : 1);
  });

  it.runIf('zstdCompressSync' in zlib)('in zstd is read where Node can', async () => {
    const compress = Reflect.get(zlib, 'zstdCompressSync') as (text: string) => Buffer;
    for (const [text, expected] of [
      ['{"model":"mock"}', 'passed'],
      ['{"model":"evil"}', '"evil"'],
      [`{"a":"${'x'.repeat(40_000_000)}","model":"mock"}`, 'too large'],
    ] as const) {
      const { check, over, pass } = bodyCheck('Content-Encoding: zstd');
      check.read(compress(text));
      check.end(pass);
      expect(await over).toContain(expected);
    }
  });

  it.runIf(!('zstdCompressSync' in zlib))('in zstd is refused where Node cannot', () => {
    const fields = [JSON_BODY, 'Content-Encoding: zstd'];
    expect(verdict('POST /v1/chat/completions', ...fields)).toContain('Content-Encoding');
  });

  it('in gzip lets its client wait while much is to be decoded', async () => {
    const { check } = bodyCheck('Content-Encoding: gzip');
    expect(check.isReady(() => undefined)).toBe(true);
    check.read(Buffer.concat([gzipSync('{"a":1,'), Buffer.alloc(300_000)]));
    await new Promise<void>((resolve) => {
      expect(check.isReady(resolve)).toBe(false);
    });
    expect(check.isReady(() => undefined)).toBe(true);
    check.close();
  });
});
