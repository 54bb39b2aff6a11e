/** How a route is treated, from the least caution to the most. */
export type RouteClass = 'health' | 'inference' | 'passthrough' | 'management' | 'denied';

/** Whose error shape a client of this route reads. */
export type Dialect = 'openai' | 'anthropic' | 'google';

/**
 * Where LiteLLM looks for its key on a route: `bearer` means `Authorization: Bearer` among others,
 * `google` means `x-goog-api-key` alone, `basic` the password of `Authorization: Basic` alone, and
 * `beside` `x-litellm-api-key`, as what stands in `Authorization` goes on to a provider.
 */
export type KeyPlace = 'bearer' | 'google' | 'basic' | 'beside';

/**
 * Whether a POST to a route, or its WebSocket, is answered with a usage: `always`, where an answer
 * without is worth a note, `maybe`, as it depends on model, provider or settings, `unsaid`, where
 * models are used that it says nothing of, or `never`.
 */
export type SaysUsage = 'always' | 'maybe' | 'unsaid' | 'never';

/**
 * Where a request names its model: in its `body` (which may be a form), in its `path` (and perhaps
 * in its body, too), or in its `query`. `none`: no model is used; `list`: the answer lists models;
 * `unknown`: it cannot be told, or LiteLLM chooses, and a client that may use some only is refused.
 */
export type ModelPlace = 'body' | 'path' | 'query' | 'none' | 'list' | 'unknown';

/** What the sidecar knows of a route of LiteLLM's. Immutable and shared between requests. */
export interface Route {
  /** A metric label from a closed set of about forty. */
  readonly group: string;
  readonly class: RouteClass;
  readonly dialect: Dialect;
  /** As the access log shows it: `/v1beta/models/{model}`, never a caller's own segment. */
  readonly template: string;
  /** MCP: `Authorization` belongs to the MCP server where the key came in `x-litellm-api-key`. */
  readonly mcp: boolean;
  /** Google's generateContent family: LiteLLM also reads the key from `?key=`. */
  readonly keyInQuery: boolean;
  readonly keyPlace: KeyPlace;
  readonly saysUsage: SaysUsage;
  readonly modelPlace: ModelPlace;
  /** Finds the model in a decoded path; undefined: it is not there. */
  readonly modelPath: RegExp | undefined;
}

/**
 * Finds the route of a request by its method (`WS` for a WebSocket: LiteLLM routes those apart) and
 * its path (decoded once, root path removed). Never fails: what the table does not name is
 * management.
 */
export type Classify = (method: string, path: string) => Route;

/**
 * Every route that is not plain management, and the families of management routes, so that a metric
 * tells those apart. A line at the margin heads the paths below it:
 *
 *     class group [anthropic|google] [mcp] [key-in-query] [goog-key|basic-key|beside-key]
 *         [in-body|in-path|in-query|no-model|lists-models] # source
 *
 * (in one line). Without a word of the last five it cannot be told which model is used: an id of a
 * response, a file or a batch stands for one that only LiteLLM knows.
 *
 * The source is the route list in LiteLLM's litellm/proxy/_types.py (1.110.2), another file of
 * litellm/proxy, or an advisory. In a path `(/v1)/x` is `/v1/x` and `/x`; `{name}` is one segment,
 * `{name:path}` any number; `/x/*` is `/x` and everything below, and yields to every longer
 * pattern. Of two other patterns that fit, the first counts. A path that stands nowhere is
 * management, so that a route which LiteLLM leaves open without a key is closed here.
 */
const TABLE = `
health health # public_routes; health_endpoints/_health_endpoints.py; matched to the letter
  /health/liveliness /health/liveness /health/readiness

denied denied # CVE-2026-42203: template injection
  /prompts/test/*
denied denied # CVE-2026-40217: code execution
  /guardrails/test_custom_code/*
denied denied # CVE-2026-42271: code execution
  /mcp-rest/test/*
denied denied # GHSA-hhww-mrg2-969h: script injection, and open without a key
  /sso/debug/*
denied denied # moyai_endpoints.py: mints a key, and open without one
  /moyai/connect/exchange/*
denied denied # GHSA-g5ff-637f-6q2m: reads the master key; in openai_routes all the same
  /utils/transform_request/*

inference chat in-body # openai_routes
  POST (/v1)/chat/completions
inference chat # openai_routes; LiteLLM may take off the end of a model's name
  POST /cursor/chat/completions
inference chat in-path # openai_routes
  POST /engines/{model:path}/chat/completions /openai/deployments/{model:path}/chat/completions
inference completions in-body # openai_routes
  POST (/v1)/completions
inference completions in-path # openai_routes
  POST /engines/{model:path}/completions /openai/deployments/{model:path}/completions
inference embeddings in-body # openai_routes
  POST (/v1)/embeddings
inference embeddings in-path # openai_routes
  POST /engines/{model:path}/embeddings /openai/deployments/{model:path}/embeddings
inference responses in-body # openai_routes; response_api_endpoints/endpoints.py
  POST (/v1)/responses (/v1)/responses/compact (/v1)/responses/input_tokens
  POST /openai/v1/responses /openai/v1/responses/compact /openai/v1/responses/input_tokens
inference responses # openai_routes; on a WebSocket each frame names a model
  WS (/v1)/responses
  GET,DELETE (/v1)/responses/{response}
  POST (/v1)/responses/{response}/cancel
  GET (/v1)/responses/{response}/input_items
  GET,DELETE /openai/v1/responses/{response}
  POST /openai/v1/responses/{response}/cancel
  GET /openai/v1/responses/{response}/input_items
inference messages anthropic in-body # anthropic_routes
  POST /v1/messages /v1/messages/count_tokens
  POST /claude_code_gateway/v1/messages /claude_code_gateway/v1/messages/count_tokens
inference messages anthropic lists-models # anthropic_routes
  GET /claude_code_gateway/v1/models
inference generate_content google key-in-query in-path # google_routes; auth/user_api_key_auth.py
  POST /v1beta/models/{model:path}:generateContent
  POST /v1beta/models/{model:path}:streamGenerateContent
  POST /models/{model:path}:generateContent /models/{model:path}:streamGenerateContent
inference generate_content google in-path # google_routes; LiteLLM reads no ?key= here
  POST /v1beta/models/{model:path}:countTokens /models/{model:path}:countTokens
inference interactions google # google_routes
  POST /interactions /interactions/{interaction}/cancel
  GET,DELETE /interactions/{interaction}
  POST /v1beta/interactions /v1beta/interactions/{interaction}/cancel
  GET,DELETE /v1beta/interactions/{interaction}
  GET,POST /v1beta/agents
  GET,DELETE /v1beta/agents/{agent}
  GET /v1beta/agents/{agent}/versions
inference realtime in-query # openai_routes: WebSocket; raw below /openai, by version
  WS (/v1)/realtime /openai/v1/realtime (/v1)/realtime/translations
inference realtime # openai_routes: in a frame, in a session, or in a token of LiteLLM's
  WS (/v1)/live/sessions
  POST (/v1)/realtime/client_secrets (/v1)/realtime/calls (/v1)/realtime/transcription_sessions
  POST (/v1)/realtime/translations/client_secrets (/v1)/realtime/translations/calls
inference models lists-models # openai_routes; model_info_routes, without the providers' keys
  GET (/v1)/models (/v1)/model/info /model_group/info
  GET /cursor/models /cursor/v1/models
inference models in-query # model_info_routes
  GET /utils/model_info
inference models in-body # openai_routes
  POST /utils/token_counter
inference images in-body # openai_routes
  POST (/v1)/images/generations (/v1)/images/edits
inference images in-path # openai_routes
  POST /openai/deployments/{model:path}/images/generations
  POST /openai/deployments/{model:path}/images/edits
inference videos in-body # openai_routes
  POST (/v1)/videos
inference videos # openai_routes
  GET (/v1)/videos
  POST (/v1)/videos/characters (/v1)/videos/edits (/v1)/videos/extensions
  GET (/v1)/videos/{video} (/v1)/videos/{video}/content
  POST (/v1)/videos/{video}/remix
inference audio in-body # openai_routes
  POST (/v1)/audio/speech (/v1)/audio/transcriptions
inference moderations in-body # openai_routes
  POST (/v1)/moderations
inference rerank in-body # openai_routes
  POST (/v1)/rerank /v2/rerank
inference ocr in-body # openai_routes
  POST (/v1)/ocr
inference decisions in-body # openai_routes
  POST (/v1)/decisions (/v1)/systemone (/v1)/extraction
inference batches # openai_routes
  GET,POST (/v1)/batches
  POST (/v1)/batches/{batch:path}/cancel
  GET (/v1)/batches/{batch:path}
inference files # openai_routes
  GET,POST (/v1)/files
  GET (/v1)/files/{file:path}/content
  GET,DELETE (/v1)/files/{file:path}
inference fine_tuning # openai_routes
  GET,POST (/v1)/fine_tuning/jobs
  POST (/v1)/fine_tuning/jobs/{job:path}/cancel
inference assistants # openai_routes
  GET,POST (/v1)/assistants
  DELETE (/v1)/assistants/{assistant:path}
  POST (/v1)/threads (/v1)/threads/{thread}/runs
  GET (/v1)/threads/{thread}
  GET,POST (/v1)/threads/{thread}/messages
inference vector_stores # openai_routes
  GET,POST (/v1)/vector_stores (/v1)/vector_stores/{store}/files
  GET,POST,DELETE (/v1)/vector_stores/{store} (/v1)/vector_stores/{store}/files/{file}
  POST (/v1)/vector_stores/{store:path}/search
  GET (/v1)/vector_stores/{store}/files/{file}/content (/v1)/vector_store/list
inference containers # openai_routes
  GET,POST (/v1)/containers (/v1)/containers/{container}/files
  GET,DELETE (/v1)/containers/{container} (/v1)/containers/{container}/files/{file}
  GET (/v1)/containers/{container}/files/{file}/content
inference search # openai_routes
  POST (/v1)/search (/v1)/search/{tool}
  GET (/v1)/search/tools
inference search # litellm_native_routes
  POST (/v1)/rag/ingest (/v1)/rag/query
inference skills anthropic # anthropic_routes
  GET,POST /v1/skills
  GET,DELETE /v1/skills/{skill}
  GET /claude-code/marketplace.json
inference moderations # apply_guardrail_routes; other methods take it for a guardrail's id
  POST /guardrails/apply_guardrail
inference traces no-model # openai_routes, of which these take traces in
  POST /v1/traces /v1/logs
inference mcp mcp no-model # mcp_inference_routes
  /mcp/*
  GET /v1/mcp/tools /mcp-rest/tools/list
  POST /mcp-rest/tools/call
inference a2a # agent_inference_routes
  POST /a2a/{agent} /a2a/{agent}/message/send /a2a/{agent}/message/stream
  POST /v1/a2a/{agent}/message/send /v1/a2a/{agent}/message/stream
  GET /a2a/{agent}/.well-known/agent-card.json

passthrough anthropic_api anthropic in-body # mapped_pass_through_routes
  POST /anthropic/v1/messages /anthropic/v1/messages/count_tokens
passthrough anthropic_api anthropic # mapped_pass_through_routes
  /anthropic/*
passthrough google_api google key-in-query goog-key in-path # gemini_proxy_route
  POST /gemini/v1beta/models/{model}:generateContent
  POST /gemini/v1beta/models/{model}:streamGenerateContent
  POST /gemini/v1beta/models/{model}:countTokens
passthrough google_api google key-in-query goog-key # gemini_proxy_route reads no other header
  /gemini/*
passthrough google_api google key-in-query in-path # llm_passthrough_endpoints.py
  POST /vertex_ai/{rest:path}/publishers/google/models/{model}:generateContent
  POST /vertex_ai/{rest:path}/publishers/google/models/{model}:streamGenerateContent
  POST /vertex-ai/{rest:path}/publishers/google/models/{model}:generateContent
  POST /vertex-ai/{rest:path}/publishers/google/models/{model}:streamGenerateContent
passthrough google_api google key-in-query # pass_through_endpoints/llm_passthrough_endpoints.py
  /vertex_ai/{rest:path}:generateContent /vertex_ai/{rest:path}:streamGenerateContent
  /vertex-ai/{rest:path}:generateContent /vertex-ai/{rest:path}:streamGenerateContent
passthrough google_api google # mapped_pass_through_routes; /vertex_ai/live is a WebSocket
  /vertex_ai/* /vertex-ai/* /vertex_ai/live /vertex_ai/discovery/*
passthrough openai_api # mapped_pass_through_routes; WebSocket too
  /openai/* /openai_passthrough/*
passthrough azure_api # mapped_pass_through_routes
  /azure/* /azure_ai/* /azure_speech/*
passthrough aws_api in-path # bedrock_proxy_route
  POST /bedrock/model/{model}/invoke /bedrock/model/{model}/invoke-with-response-stream
  POST /bedrock/model/{model}/converse /bedrock/model/{model}/converse-stream
passthrough aws_api # mapped_pass_through_routes
  /bedrock/* /comprehendmedical/* /transcribe/*
passthrough provider_api beside-key # codex_passthrough_endpoints.py: a client's own ChatGPT
  /backend-api/codex/*
passthrough provider_api basic-key # vertex_ai_endpoints/langfuse_endpoints.py reads Basic alone
  /langfuse/*
passthrough provider_api # mapped_pass_through_routes
  /assemblyai/* /eu.assemblyai/* /bespoke/* /cohere/* /cursor/* /deepgram/* /eu_jev/*
  /fal_ai/* /gigachat/* /laya/* /milvus/* /mistral/* /nvidia_nim/* /openrouter/*
  /tinyfish/* /typesafe/* /vllm/* /watsonx/*

management fine_tuning # neither list, though a list and a cancel are in openai_routes
  GET (/v1)/fine_tuning/jobs/{job:path}
management traces # openai_routes: every client is LiteLLM's master, and would read all prompts
  /v1/traces/*
management mcp mcp # neither list: _experimental/mcp_server/server.py
  /{server}/mcp /toolset/{toolset}/mcp
management mcp_admin # mcp_inference_routes: /token makes keys, /introspect reads others' sessions
  /token /introspect
management mcp_admin # mcp_management_routes; discoverable_endpoints.py, open at LiteLLM
  /v1/mcp/* /authorize/* /callback /register /revoke /.well-known/*
  /{server}/authorize /{server}/token /{server}/register
management settings # anthropic_routes: a POST gives Claude Code's users other code to run
  /claude-code/plugins/*
management messages anthropic # neither list: for the shape of the answer
  /v1/messages/*
management keys # key_management_routes
  /key/* /v2/key/* /jwt/* /credentials/*
management accounts # management_routes
  /user/* /v2/user/* /team/* /v2/team/* /organization/* /v2/organization/* /customer/*
  /project/* /management/* /scim/* /onboarding/* /access_group/* /v1/access_group/*
  /v1/unified_access_group/* /subscription_accounts/* /identities/*
management spend # spend_tracking_routes, global_spend_tracking_routes
  /spend/* /global/* /budget/* /tag/* /cost/* /usage/* /cloudzero/* /vantage/*
  /roi-calculator/*
management deployments # management_routes
  /model/* /v1/model/* /v2/model/* /model_group/* /model_hub/* /fallback/* /auto_router/*
management settings # neither list
  /telemetry/* /lens/* /gateway/* /skill-hub/*
  /config/* /config_overrides/* /settings /get/* /update/* /cache/* /callbacks/*
management policies # neither list
  /guardrails/* /v2/guardrails/* /apply_guardrail /policies/* /policy/* /prompts/*
management pages # info_routes: /health calls every provider
  /health/* /debug/* /metrics/* /test
management pages # public_routes, ui_routes, open at LiteLLM
  / /ui/* /_next/* /litellm-asset-prefix/* /public/* /sso/* /login /docs/* /redoc /swagger/*
  /openapi.json /routes
`;

/** The paths under one heading. */
export interface Row {
  readonly class: RouteClass;
  readonly group: string;
  readonly dialect: Dialect;
  readonly mcp: boolean;
  readonly keyInQuery: boolean;
  readonly keyPlace: KeyPlace;
  readonly modelPlace: ModelPlace;
  readonly source: string;
  readonly paths: readonly RowPath[];
}

/** A path of a row, with the methods that its line begins with. */
export interface RowPath {
  /** As in the table, with `(/v1)` written out. */
  readonly path: string;
  /** `WS` is a WebSocket; undefined: every method. */
  readonly methods: readonly string[] | undefined;
}

const METHODS = /^(?:GET|POST|PUT|PATCH|DELETE|WS)(?:,(?:GET|POST|PUT|PATCH|DELETE|WS))*$/;
const HEADING = /^(\w+) (\w+)((?: [a-z-]+)*) # (.+)$/;
const CLASSES: readonly string[] = ['health', 'inference', 'passthrough', 'management', 'denied'];
/** The words for where the model stands. */
const MODEL_PLACES: Readonly<Record<string, ModelPlace>> = {
  'in-body': 'body',
  'in-path': 'path',
  'in-query': 'query',
  'no-model': 'none',
  'lists-models': 'list',
};
const OPTIONS: readonly string[] = [
  ...['anthropic', 'google', 'mcp', 'key-in-query'],
  ...['goog-key', 'basic-key', 'beside-key'],
  ...Object.keys(MODEL_PLACES),
];

/**
 * Reads the text of a route table, in its order.
 *
 * @throws Error at a heading that cannot be read, which ends the process at its start
 */
export function readRows(table: string): Row[] {
  return table
    .trim()
    .split(/\n+(?! )/)
    .map(readBlock);
}

function readBlock(block: string): Row {
  const [heading = '', ...lines] = block.split('\n');
  const [, kind = '', group = '', words = '', source = ''] = HEADING.exec(heading) ?? [];
  const options = words.split(' ').slice(1);
  if (!CLASSES.includes(kind) || !options.every((option) => OPTIONS.includes(option))) {
    throw new Error(`the route table cannot be read at "${heading}"`);
  }
  return {
    class: kind as RouteClass,
    group,
    dialect: (['anthropic', 'google'] as const).find((name) => options.includes(name)) ?? 'openai',
    mcp: options.includes('mcp'),
    keyInQuery: options.includes('key-in-query'),
    keyPlace: keyPlaceOf(options),
    modelPlace: MODEL_PLACES[options.find((word) => word in MODEL_PLACES) ?? ''] ?? 'unknown',
    source,
    paths: lines.flatMap(readLine),
  };
}

function readLine(line: string): RowPath[] {
  const [first = '', ...rest] = line.trim().split(' ');
  const methods = METHODS.test(first) ? first.split(',') : undefined;
  const paths = methods === undefined ? [first, ...rest] : rest;
  if (paths.length === 0 || !paths.every((path) => /^(?:\(\/v1\))?\//.test(path))) {
    throw new Error(`the route table cannot be read at "${line}"`);
  }
  return paths.flatMap(withAndWithoutVersion).map((path) => ({ path, methods }));
}

function keyPlaceOf(options: readonly string[]): KeyPlace {
  if (options.includes('goog-key')) return 'google';
  if (options.includes('beside-key')) return 'beside';
  return options.includes('basic-key') ? 'basic' : 'bearer';
}

function withAndWithoutVersion(path: string): string[] {
  return path.startsWith('(/v1)') ? [`/v1${path.slice(5)}`, path.slice(5)] : [path];
}

/** The rows of the route table. */
export const ROWS: readonly Row[] = readRows(TABLE);
