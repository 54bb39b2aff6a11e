/** How a route is treated; the order is that of growing caution. */
export type RouteClass = 'health' | 'inference' | 'passthrough' | 'management' | 'denied';

/** Whose error shape a client of this route reads. */
export type Dialect = 'openai' | 'anthropic' | 'google';

/**
 * Where LiteLLM looks for its key on a route; nearly everywhere `Authorization: Bearer` is good.
 */
export type KeyPlace = 'bearer' | 'google' | 'basic';

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
  /** `google`: `x-goog-api-key` alone; `basic`: the password of `Authorization: Basic` alone. */
  readonly keyPlace: KeyPlace;
}

/**
 * Finds the route of a path (decoded once, root path removed); never fails: what is not named is
 * management.
 */
export type Classify = (path: string) => Route;
