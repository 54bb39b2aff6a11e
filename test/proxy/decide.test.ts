import { describe, expect, it } from 'vitest';
import { type Decision, decide, type Policy } from '../../src/proxy/decide.ts';
import { headOf } from '../support/heads.ts';
import { KEYS, policyWith } from '../support/policies.ts';

const HOST = 'Host: gateway';
const BEARER = `Authorization: Bearer ${KEYS.full}`;

const judge = (
  line: string,
  fields: readonly string[] = [HOST, BEARER],
  policy: Policy = policyWith(),
  websocket = false,
): Decision => decide(headOf(line, fields), { address: '192.0.2.1', websocket }, policy);

const codeOf = (decision: Decision): string =>
  decision.kind === 'refuse' ? decision.refusal.code : decision.kind;
const targetOf = (decision: Decision): string =>
  decision.kind === 'forward' ? decision.target : codeOf(decision);

describe('a decision', () => {
  it('forwards what is admitted, with the bytes that were judged', () => {
    const decision = judge('GET /v1%2Fmodels?a=%6b&key=x');
    expect(decision).toMatchObject({ kind: 'forward', target: '/v1%2Fmodels?a=%6b&key=x' });
    expect(decision).toMatchObject({ generation: { client: 'full' }, keepAuthorization: false });
  });

  const crash = (): never => {
    throw new Error('a bug');
  };
  it.each<[string, Partial<Policy>]>([
    ['the route table', { classify: crash }],
    [
      'the keyring',
      { admission: { ...policyWith().admission, keyring: { byDigest: crashing() } } },
    ],
    ['the address list', { admission: { ...policyWith().admission, mayManageFrom: crash } }],
  ])('where %s crashes is a refusal', (_, broken) => {
    const decision = judge('POST /key/generate', undefined, policyWith(broken));
    expect(decision).toMatchObject({ kind: 'refuse', refusal: { code: 'sidecar_failed' } });
    expect(decision).toMatchObject({ generation: undefined });
  });

  function crashing() {
    const map = new Map();
    map.get = crash;
    return map;
  }

  it('looks at the framing first, at the target next, and at the key last', () => {
    const none = [HOST];
    expect(codeOf(judge('CONNECT litellm:4000', none))).toBe('bad_request');
    expect(codeOf(judge('GET //', none))).toBe('bad_target');
    expect(codeOf(judge('GET /v1/models', none))).toBe('missing_key');
    expect(codeOf(judge('GET /prompts/test', none))).toBe('route_denied');
  });

  it.each([
    ['POST /openai/v1/responses', false, 'forward'],
    ['PUT /openai/v1/responses', false, 'scope_denied'],
    ['POST /openai/v1/responses/', false, 'scope_denied'],
    ['POST /openai/v1/responses%2F', false, 'scope_denied'],
    ['GET /guardrails/apply_guardrail', false, 'scope_denied'],
    ['GET /openai/v1/realtime', true, 'forward'],
    ['GET /openai/v1/realtime', false, 'scope_denied'],
    ['GET /v1/models', true, 'scope_denied'],
    ['OPTIONS /v1/models', false, 'scope_denied'],
  ])('by a key for models, of %s, as a WebSocket %s, is %s', (line, websocket, expected) => {
    const fields = [HOST, `Authorization: Bearer ${KEYS.inference}`];
    expect(codeOf(judge(line, fields, policyWith(), websocket))).toBe(expected);
  });

  it('answers health routes to anybody', () => {
    for (const path of ['/health/liveliness', '/health/liveness', '/health/readiness']) {
      expect(judge(`GET ${path}`, [HOST]).kind).toBe('health');
    }
    expect(codeOf(judge('GET /health', [HOST]))).toBe('missing_key');
  });

  it.each([
    '/prompts/test',
    '/PROMPTS/Test',
    '/prompts/test/',
    '/prompts%2Ftest',
    '/%70rompts/test',
    '/guardrails/test_custom_code',
    '/mcp-rest/test/connection',
    '/sso/debug/callback',
    '/utils/transform_request',
  ])('denies %s to everybody', (path) => {
    expect(codeOf(judge(`POST ${path}`))).toBe('route_denied');
    expect(codeOf(judge(`POST /llm${path}`, undefined, policyWith({ rootPath: '/llm' })))).toBe(
      'route_denied',
    );
  });

  it('takes every key out of the query of generateContent, and of no other route', () => {
    const google = '/v1beta/models/g:generateContent';
    const own = [HOST, `x-goog-api-key: ${KEYS.full}`];
    expect(targetOf(judge(`POST ${google}?key=${KEYS.full}`, [HOST]))).toBe(google);
    expect(targetOf(judge(`POST ${google}?a=%6b&key=x&b`, own))).toBe(`${google}?a=%6b&b`);
    expect(targetOf(judge(`POST ${google}?a`, own))).toBe(`${google}?a`);
    expect(codeOf(judge(`GET /v1/models?key=${KEYS.full}`, [HOST]))).toBe('missing_key');
  });

  it('reads a subprotocol on a WebSocket only', () => {
    const fields = [HOST, `Sec-WebSocket-Protocol: openai-insecure-api-key.${KEYS.full}`];
    expect(judge('GET /v1/realtime', fields, policyWith(), true).kind).toBe('forward');
    expect(codeOf(judge('GET /v1/realtime', fields))).toBe('missing_key');
  });

  it('refuses a WebSocket that has a body', () => {
    const fields = [HOST, BEARER, 'Content-Length: 5'];
    expect(codeOf(judge('GET /v1/realtime', fields, policyWith(), true))).toBe('bad_request');
    expect(judge('GET /v1/realtime', fields).kind).toBe('forward');
  });

  it('refuses a body above the limit, and says whose it was', () => {
    const limited = policyWith({ bodyLimit: 10 });
    const sized = (bytes: number) =>
      judge('POST /v1/chat/completions', [HOST, BEARER, `Content-Length: ${bytes}`], limited);
    expect(sized(10).kind).toBe('forward');
    expect(codeOf(sized(11))).toBe('body_too_large');
    expect(sized(11)).toMatchObject({ generation: { client: 'full' } });
  });

  it('answers a preflight here, whatever it presents, but not on a denied row', () => {
    const cors = [HOST, 'Origin: https://app', 'Access-Control-Request-Method: POST'];
    for (const path of ['/key/generate', '/v1/models', '/health/liveliness', '/no/such/route']) {
      expect(judge(`OPTIONS ${path}`, [...cors, BEARER]).kind).toBe('preflight');
    }
    expect(codeOf(judge('OPTIONS /prompts/test', cors))).toBe('route_denied');
    expect(codeOf(judge('OPTIONS /v1/models#x', cors))).toBe('bad_target');
  });
});

describe("a client's Authorization", () => {
  const fields = [HOST, `x-litellm-api-key: ${KEYS.full}`, 'Authorization: Bearer somebody'];
  const keeps = (path: string, policy = policyWith(), presented = fields) => {
    const decision = judge(`POST ${path}`, presented, policy);
    return decision.kind === 'forward' ? decision.keepAuthorization : codeOf(decision);
  };

  it('is kept on MCP routes, where the key came in x-litellm-api-key', () => {
    expect(keeps('/mcp')).toBe(true);
    expect(keeps('/v1/chat/completions')).toBe(false);
    expect(keeps('/mcp', policyWith(), [HOST, BEARER])).toBe(false);
    expect(keeps('/mcp', policyWith(), [HOST, `x-api-key: ${KEYS.full}`, 'Authorization:'])).toBe(
      false,
    );
  });

  it("is kept for a client's own ChatGPT, to which LiteLLM passes it on", () => {
    expect(keeps('/backend-api/codex/responses')).toBe(true);
    expect(keeps('/backend-api/other')).toBe(false);
    expect(keeps('/backend-api/codex/responses', policyWith(), [HOST, BEARER])).toBe(false);
  });

  it.each([
    ['the same key', `Bearer ${KEYS.full}`],
    ["another client's", `bearer  ${KEYS.inference}`],
    ['an old one', `Bearer ${KEYS.retired}`],
    ['a bare one', KEYS.full],
    ['one as a password', `Basic ${Buffer.from(`x:${KEYS.full}`).toString('base64')}`],
  ])('is not kept where it holds %s, which nobody behind LiteLLM shall learn', (_, value) => {
    const both = [HOST, `x-litellm-api-key: ${KEYS.full}`, `Authorization: ${value}`];
    for (const path of ['/mcp', '/backend-api/codex/responses']) {
      expect(keeps(path, policyWith(), both)).toBe(false);
    }
  });

  it('is kept elsewhere only where the operator says so', () => {
    const kept = policyWith({ keepProviderAuth: true });
    expect(keeps('/v1/chat/completions', kept)).toBe(true);
    expect(keeps('/v1/chat/completions', kept, [HOST, BEARER])).toBe(false);
    // Here LiteLLM's own key goes there.
    expect(keeps('/langfuse/api/x', kept)).toBe(false);
  });

  it('is never kept where it carries the key by the word of the operator', () => {
    const own = policyWith({ credential: { keyHeader: 'x-own' }, keepProviderAuth: true });
    expect(keeps('/mcp', own, [HOST, `x-own: ${KEYS.full}`, 'Authorization: Bearer y'])).toBe(true);
    const same = policyWith({ credential: { keyHeader: 'authorization' }, keepProviderAuth: true });
    expect(keeps('/mcp', same, [HOST, BEARER])).toBe(false);
  });
});
