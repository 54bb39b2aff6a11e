import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRouteTable, ROUTE_GROUPS } from '../../src/litellm/routes.ts';
import { ROWS, type RouteClass } from '../../src/litellm/routes-table.ts';
import { LITELLM_ROUTES, pathsOf } from './litellm-routes.ts';

const classify = createRouteTable({ inferencePaths: [], denyPaths: [], allowPaths: [] });
const classOf = (path: string): RouteClass => classify(path).class;

/** What LiteLLM calls an LLM route and we do not; the reason stands in the table. */
const NOT_FOR_MODELS: Record<string, RouteClass> = {
  '/claude-code/plugins': 'management',
  '/claude-code/plugins/{plugin_name}': 'management',
  '/introspect': 'management',
  '/token': 'management',
  '/utils/transform_request': 'denied',
};

/** What LiteLLM calls none, and needs no key of scope `full` here. */
const NOT_MANAGEMENT: Record<string, RouteClass> = {
  '/health/liveliness': 'health',
  '/health/liveness': 'health',
  '/health/readiness': 'health',
  '/prompts/test': 'denied',
  '/guardrails/test_custom_code': 'denied',
  '/mcp-rest/test/connection': 'denied',
  '/mcp-rest/test/tools/list': 'denied',
};

describe("LiteLLM's routes", () => {
  const llmApi = LITELLM_ROUTES.filter((route) => route.group === 'llm_api');
  const others = LITELLM_ROUTES.filter((route) => route.group !== 'llm_api');

  it('are all there', () => {
    const pairs = LITELLM_ROUTES.flatMap((route) => route.methods.split(','));
    expect([pairs.length, llmApi.length, others.length]).toEqual([916, 213, 449]);
  });

  it.each(llmApi.map((route) => route.path))('%s is decided on purpose', (path) => {
    for (const concrete of pathsOf(path, ['x1'])) {
      const route = classify(concrete);
      expect(route.group).not.toBe('other');
      const known = NOT_FOR_MODELS[path];
      if (known === undefined) expect(['inference', 'passthrough']).toContain(route.class);
      else expect(route.class).toBe(known);
    }
  });

  it.each(others.map((route) => route.path))('%s wants the full scope', (path) => {
    for (const concrete of pathsOf(path, ['x1'])) {
      expect(classOf(concrete)).toBe(NOT_MANAGEMENT[path] ?? 'management');
    }
  });

  it('become no less by any value of a parameter', () => {
    const lesser = ROWS.filter((row) => ['inference', 'passthrough'].includes(row.class));
    const segments = lesser.flatMap((row) => row.paths.flatMap((path) => path.split('/')));
    const words = [...new Set(segments)].filter((word) => /^[^{*]+$/.test(word));
    const less = new Set<string>();
    for (const { path } of others.filter((route) => route.path.includes('{'))) {
      for (const concrete of pathsOf(path, words)) {
        if (!['management', 'denied'].includes(classOf(concrete))) less.add(path);
      }
    }
    expect([...less].sort()).toEqual([
      // `…/jobs/x/cancel` and `/videos/characters/content` mean the LLM route of the same object.
      '/fine_tuning/jobs/{fine_tuning_job_id:path}',
      // No guardrail's id, which LiteLLM makes, is "apply_guardrail".
      '/guardrails/{guardrail_id}',
      '/v1/fine_tuning/jobs/{fine_tuning_job_id:path}',
      '/v1/videos/characters/{character_id}',
      '/videos/characters/{character_id}',
      // Under a provider's own prefix LiteLLM calls these LLM routes as well: `/azure/v1/files`.
      '/{provider}/v1/batches',
      '/{provider}/v1/batches/{batch_id:path}',
      '/{provider}/v1/batches/{batch_id:path}/cancel',
      '/{provider}/v1/files',
      '/{provider}/v1/files/{file_id:path}',
      '/{provider}/v1/files/{file_id:path}/content',
    ]);
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

  it('gives the same frozen object each time', () => {
    for (const path of ['/v1/chat/completions', '/v1/files/f', '/anthropic/x', '/nowhere']) {
      expect(classify(path)).toBe(classify(path));
      expect(Object.isFrozen(classify(path))).toBe(true);
    }
  });

  it('keeps group and template in a closed set, whatever is asked', () => {
    const templates = new Set(
      ROWS.flatMap((row) => row.paths.map((p) => p.replace(':path}', '}'))),
    );
    const segment = fc.oneof(
      fc.constantFrom(...ROWS.flatMap((row) => row.paths.flatMap((path) => path.split('/')))),
      fc.string({ unit: 'binary' }),
    );
    const path = fc.array(segment, { maxLength: 8 }).map((segments) => `/${segments.join('/')}`);
    fc.assert(
      fc.property(fc.oneof(path, fc.string({ unit: 'binary' })), (asked) => {
        const { group, template } = classify(asked);
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
