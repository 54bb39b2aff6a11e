import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRouteTable, ROUTE_GROUPS } from '../../src/litellm/routes.ts';
import { ROWS, type RouteClass } from '../../src/litellm/routes-table.ts';
import { pathsOf, REVIEWED } from './litellm-routes.ts';

const ask = createRouteTable({ inferencePaths: [], denyPaths: [], allowPaths: [] });
/** By a method that a row for models has, where one has the path. */
const classify = (path: string) =>
  ['GET', 'WS'].map((method) => ask(method, path)).find((route) => route.class === 'inference') ??
  ask('POST', path);
const classOf = (path: string): RouteClass => classify(path).class;
const UNDER_A_PROVIDER = REVIEWED.filter(({ path }) => path.startsWith('/{provider}/')).flatMap(
  ({ methods, path }) => methods.map((method) => `${method} ${path}`),
);
const lesser = (kind: RouteClass): boolean => kind === 'inference' || kind === 'passthrough';

describe("LiteLLM's routes", () => {
  it.each(REVIEWED.map((route) => [route.path, route] as const))('%s', (_, route) => {
    for (const method of route.methods) {
      for (const concrete of pathsOf(route.path, ['x1'])) {
        const found = ask(method === '*' ? 'GET' : method, concrete);
        expect({ method, class: found.class }).toEqual({ method, class: route.class });
        if (route.class !== 'management') expect(found.group).not.toBe('other');
      }
    }
  });

  it('become no less by any value of a parameter', () => {
    const rows = ROWS.filter((row) => lesser(row.class)).flatMap((row) => row.paths);
    const segments = rows.flatMap(({ path }) => path.split('/'));
    const words = [...new Set(segments)].filter((word) => /^[^{*]+$/.test(word));
    const less = new Set<string>();
    for (const { path, methods } of REVIEWED.filter((route) => !lesser(route.class))) {
      for (const concrete of pathsOf(path, words)) {
        for (const method of methods) {
          if (lesser(ask(method, concrete).class)) less.add(`${method} ${path}`);
        }
      }
    }
    expect([...less].sort()).toEqual(
      [
        // The route before it has `/videos/characters/content` as well.
        'GET /v1/videos/characters/{character_id}',
        'GET /videos/characters/{character_id}',
        // Under a provider's own prefix LiteLLM calls these LLM routes as well: `/azure/v1/files`.
        ...UNDER_A_PROVIDER,
      ].sort(),
    );
  });

  it.each([
    ['PUT', '/openai/v1/responses', 'passthrough'],
    ['POST', '/openai/v1/responses/', 'passthrough'],
    ['POST', '/openai/v1/responses', 'inference'],
    ['GET', '/openai/v1/realtime', 'passthrough'],
    ['WS', '/openai/v1/realtime', 'inference'],
    ['WS', '/openai/v1/responses', 'passthrough'],
    ['POST', '/openai/v1/realtime/calls', 'passthrough'],
    ['GET', '/cursor/models', 'inference'],
    ['GET', '/cursor/models/', 'passthrough'],
    ['POST', '/cursor/models', 'passthrough'],
    ['GET', '/openai/deployments/m/chat/completions', 'passthrough'],
    ['POST', '/guardrails/apply_guardrail', 'inference'],
    ['GET', '/guardrails/apply_guardrail', 'management'],
    ['PUT', '/guardrails/apply_guardrail', 'management'],
    ['DELETE', '/guardrails/apply_guardrail', 'management'],
    ['PATCH', '/v1/skills/s', 'management'],
    ['GET', '/v1/traces/t/spans/s', 'management'],
    ['GET', '/v1/realtime/translations', 'management'],
    ['POST', '/Moyai/connect/exchange/', 'denied'],
    ['POST', '/moyai/connect/start', 'management'],
    ['POST', '/backend-api/codex', 'passthrough'],
    ['POST', '/backend-api/conversation', 'management'],
    ['GET', '/v1/fine_tuning/jobs/j/cancel', 'management'],
    ['GET', '/v1/fine_tuning/jobs/', 'management'],
    ['GET', '/v1/fine_tuning/jobs', 'inference'],
    ['GET', '/v1/models/', 'inference'],
    ['PROPFIND', '/v1/models', 'management'],
    ['PROPFIND', '/anthropic/v1/files', 'passthrough'],
    ['HEAD', '/health/liveliness', 'health'],
    ['PROPFIND', '/prompts/test/', 'denied'],
  ])('%s %s is %s', (method, path, expected) => {
    expect(ask(method, path).class).toBe(expected);
  });
});

describe('classify', () => {
  it.each([
    ['/v1beta/models/gemini/2.5/pro:generateContent', '/v1beta/models/{model}:generateContent'],
    ['/models/a/b:streamGenerateContent', '/models/{model}:streamGenerateContent'],
    ['/engines/azure/gpt-4o/embeddings', '/engines/{model}/embeddings'],
    [
      '/openai/deployments/azure/gpt-4o/chat/completions',
      '/openai/deployments/{model}/chat/completions',
    ],
    ['/v1/files/gs:/bucket/x/content', '/v1/files/{file}/content'],
  ])('takes a slash in a name: %s', (path, template) => {
    expect(classify(path)).toMatchObject({ class: 'inference', template });
  });

  it.each([
    ['/openai/deployments/gpt-4o/chat/completions', 'inference'],
    ['/openai/deployments/gpt-4o/audio/speech', 'passthrough'],
    ['/openai/v1/responses/resp_1', 'inference'],
    ['/openai/v1/assistants', 'passthrough'],
    ['/cursor/chat/completions', 'inference'],
    ['/cursor/v0/agents', 'passthrough'],
    ['/anthropic', 'passthrough'],
    ['/anthropical/v1/messages', 'management'],
    ['/vertex-ai/v1/projects/p', 'passthrough'],
    ['/deepgram/v1/listen', 'passthrough'],
    ['/health/liveness/', 'management'],
    ['/health', 'management'],
    ['/health/readiness/details', 'management'],
    ['/metrics', 'management'],
    ['/V1/chat/completions', 'management'],
    ['/v1/chat/completions/more', 'management'],
    ['/a2a/x/.well-known/agent-card.json', 'inference'],
    ['/a2a/x/.well-known/agent-cardXjson', 'management'],
    ['/mcp/register', 'management'],
    ['/mcp/github', 'inference'],
    ['/github/mcp', 'management'],
    ['/model/new', 'management'],
    ['/', 'management'],
    ['', 'management'],
  ])('%s is %s', (path, expected) => {
    expect(classOf(path)).toBe(expected);
  });

  it.each([
    ['/v1/messages', 'anthropic'],
    ['/v1/messages/batches', 'anthropic'],
    ['/anthropic/v1/messages', 'anthropic'],
    ['/v1beta/models/x:countTokens', 'google'],
    ['/gemini/v1beta/models', 'google'],
    ['/vertex_ai/v1/projects/p/locations/l', 'google'],
    ['/v1/models', 'openai'],
    ['/nowhere', 'openai'],
  ])("%s speaks %s's errors", (path, dialect) => {
    expect(classify(path).dialect).toBe(dialect);
  });

  it.each([
    ['/v1beta/models/x:generateContent', true],
    ['/models/x:streamGenerateContent', true],
    ['/gemini/v1beta/files', true],
    ['/vertex_ai/v1/projects/p/models/x:generateContent', true],
    ['/v1beta/models/x:countTokens', false],
    ['/vertex_ai/v1/projects/p', false],
    ['/v1/chat/completions', false],
  ])('%s may carry the key in its query: %s', (path, expected) => {
    expect(classify(path).keyInQuery).toBe(expected);
  });

  it.each([
    ['/mcp', true],
    ['/mcp/', true],
    ['/mcp/sse/messages', true],
    ['/mcp-rest/tools/call', true],
    ['/github/mcp', true],
    ['/toolset/t/mcp', true],
    ['/v1/mcp/server', false],
    ['/v1/models', false],
  ])('%s is MCP: %s', (path, expected) => {
    expect(classify(path).mcp).toBe(expected);
  });

  it.each([
    ['POST', '/v1/chat/completions', 'always'],
    ['POST', '/openai/deployments/a/b/chat/completions', 'always'],
    ['POST', '/v1/completions', 'always'],
    ['POST', '/v1/embeddings', 'always'],
    ['POST', '/v1/responses', 'always'],
    ['WS', '/v1/responses', 'always'],
    ['POST', '/v1/messages', 'always'],
    ['POST', '/v1beta/models/a/b:streamGenerateContent', 'always'],
    ['POST', '/v1/images/generations', 'maybe'],
    ['POST', '/v1/rerank', 'maybe'],
    ['WS', '/v1/realtime', 'maybe'],
    ['POST', '/anthropic/v1/messages', 'maybe'],
    ['POST', '/v1/messages/count_tokens', 'never'],
    ['POST', '/v1beta/models/a:countTokens', 'never'],
    ['POST', '/v1/responses/input_tokens', 'never'],
    ['POST', '/v1/responses/resp_1/cancel', 'never'],
    ['POST', '/v1/batches', 'unsaid'],
    ['POST', '/batches/b/cancel', 'never'],
    ['POST', '/v1/fine_tuning/jobs', 'unsaid'],
    ['POST', '/v1/threads/t/runs', 'unsaid'],
    ['POST', '/v1/threads/t/messages', 'never'],
    ['POST', '/a2a/agent', 'unsaid'],
    ['POST', '/v1/a2a/agent/message/stream', 'unsaid'],
    ['POST', '/v1/files', 'never'],
    ['POST', '/mcp/', 'never'],
    ['POST', '/key/generate', 'never'],
    ['POST', '/nobody/knows', 'never'],
  ])('%s %s: its answer says a usage %s', (method, path, says) => {
    expect(ask(method, path).saysUsage).toBe(says);
  });

  it('knows nothing of what a path of the operator says', () => {
    const open = createRouteTable({ inferencePaths: ['/mine/*'], denyPaths: [], allowPaths: [] });
    expect(open('POST', '/mine/model').saysUsage).toBe('maybe');
  });

  it('gives the same frozen object each time', () => {
    for (const path of ['/v1/chat/completions', '/v1/files/f', '/anthropic/x', '/nowhere']) {
      expect(classify(path)).toBe(classify(path));
      expect(Object.isFrozen(classify(path))).toBe(true);
    }
  });

  it('keeps group and template in a closed set, whatever is asked', () => {
    const templates = new Set(
      ROWS.flatMap((row) => row.paths.map(({ path }) => path.replace(':path}', '}'))),
    );
    const segment = fc.oneof(
      fc.constantFrom(...ROWS.flatMap((row) => row.paths.flatMap(({ path }) => path.split('/')))),
      fc.string({ unit: 'binary' }),
    );
    const method = fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'WS', 'HEAD', 'QUERY');
    const path = fc.array(segment, { maxLength: 8 }).map((segments) => `/${segments.join('/')}`);
    fc.assert(
      fc.property(method, fc.oneof(path, fc.string({ unit: 'binary' })), (by, asked) => {
        const { group, template } = ask(by, asked);
        return ROUTE_GROUPS.includes(group) && (template === '/*' || templates.has(template));
      }),
      { numRuns: 300 },
    );
  });

  it('takes linear time for a path of hostile length', () => {
    const long = 'content/'.repeat(100_000);
    const started = performance.now();
    for (const start of ['/v1/files/', '/engines/', '/openai/deployments/', '/models/']) {
      classify(`${start}${long}x`);
    }
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
