import { Attempt, type AttemptOwner } from './attempt.ts';
import type { ExchangeContext, ExchangeRequest } from './exchange-context.ts';
import { addressTo } from './headers.ts';
import { type KeyTrier, KeyTry, provesKey } from './key-try.ts';
import type { UpstreamKey } from './live-keys.ts';
import { McpAnswer } from './mcp-answer.ts';
import type { Upstream } from './upstream.ts';

/** How a try differs from another one of the same request. */
export interface Try {
  /** On a connection that was never used. */
  readonly fresh: boolean;
  /** LiteLLM did not take this key for it. */
  readonly refused: UpstreamKey | undefined;
}

/**
 * Prepares to send a request to one LiteLLM. What depends on which one that is, Host and key, is
 * filled in here and not before: it may have changed while the request waited.
 */
export function attemptAt(
  upstream: Upstream,
  it: ExchangeRequest,
  owner: AttemptOwner & KeyTrier,
  { context, fresh, refused }: Try & { readonly context: ExchangeContext },
): Attempt {
  const { method, headers, session } = it;
  const { route, generation, target, keepAuthorization } = it.decision;
  const { keys, connections } = upstream;
  let listener: AttemptOwner = owner;
  if (route.mcp) {
    const mcp = { method, target, session };
    listener = new McpAnswer(listener, context.upstreams.sessions, upstream, mcp);
  }
  if (generation === undefined) {
    addressTo(headers, upstream.rules.host, undefined);
  } else {
    const key = keys.pick(refused);
    addressTo(headers, upstream.rules.host, key.field(route.keyPlace, keepAuthorization));
    if (keys.other !== undefined) {
      const last = refused !== undefined;
      const proves = provesKey(method, route);
      listener = new KeyTry(listener, { trier: owner, keys, key, last, proves });
    }
  }
  return new Attempt(listener, { connections, fresh, elapsed: context.elapsed });
}
