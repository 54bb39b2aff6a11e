import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ProxyServer } from 'http-proxy-3';
import { Gate } from './gate.ts';

/** What is heard of an upgrade that LiteLLM is asked for. */
export interface UpgradeHooks {
  /** The connection stands: from now on a failure is an answer that did not come. */
  onSent(): void;
  /**
   * 101, or whatever LiteLLM says instead; its head is on its way to the client. False: it is not,
   * nothing of this attempt reaches the client any more. A 101 cannot be kept back.
   */
  onAnswer(status: number): boolean;
  onError(error: Error): void;
}

/** An upgrade under way. */
export interface UpgradeAttempt {
  readonly gate: Gate;
  /**
   * Ends the connection to LiteLLM. Before the 101 http-proxy-3 would leave LiteLLM asked when the
   * client goes; after it, it would wait for LiteLLM to close.
   */
  abort(): void;
}

export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** The bytes of the request target. */
  readonly target: string;
  /** The fields LiteLLM gets: name, value, name, value. */
  readonly headers: readonly string[];
}

/** Asks LiteLLM for a WebSocket, through http-proxy-3. */
export type AskUpgrade = (it: UpgradeRequest, hooks: UpgradeHooks) => UpgradeAttempt;

/** With the first upgrade: most sidecars see none, and it is 40 ms of each start. */
const loadHttpProxy = (): typeof import('http-proxy-3') =>
  createRequire(import.meta.url)('http-proxy-3');

export function createWebSocketUpstream(options: {
  upstream: URL;
  /** 0: no limit. */
  connectTimeoutMs: number;
}): AskUpgrade {
  const onRequest = new WeakMap<object, (asked: ClientRequest) => void>();
  const open = (): ProxyServer => {
    const { createProxyServer } = loadHttpProxy();
    const opened = createProxyServer({
      target: options.upstream.href,
      ws: true,
      prependPath: false,
    });
    opened.on('proxyReqWs', (asked, _request, gate) => onRequest.get(gate)?.(asked));
    // Each upgrade hears of its own errors through its callback.
    opened.on('error', () => undefined);
    return opened;
  };
  let proxy: ProxyServer | undefined;

  return (it, hooks) => {
    const gate = new Gate(it.socket);
    let asked: ClientRequest | undefined;
    let upgraded: Duplex | undefined;
    let isKeptBack = false;
    const onError = (error: Error): void => {
      if (!isKeptBack) hooks.onError(error);
    };
    onRequest.set(gate, (request) => {
      asked = request;
      // The bytes that were judged, not http-proxy-3's reading of them.
      request.path = it.target;
      request.once('socket', (socket) => {
        limitConnect(socket, options.connectTimeoutMs, hooks.onSent);
      });
      request.once('upgrade', (_answer, socket) => {
        upgraded = socket;
        gate.opened();
        hooks.onAnswer(101);
      });
      request.once('response', (answer) => {
        if (!hooks.onAnswer(answer.statusCode ?? 0)) {
          isKeptBack = true;
          // http-proxy-3 goes on with it; what it writes ends at the gate.
          gate.release();
          request.destroy();
          return;
        }
        // http-proxy-3 waits for an end that does not come when LiteLLM dies in its answer.
        answer.once('close', () => {
          if (!answer.complete) onError(new Error('LiteLLM broke off'));
        });
      });
    });
    it.request.headers = asHeaderObject(it.headers);
    proxy ??= open();
    proxy.ws(it.request, gate as unknown as Socket, Buffer.alloc(0), {}, onError);
    return { gate, abort: () => void (upgraded ?? asked)?.destroy() };
  };
}

/** Node's own time limit begins with the connection; an unreachable address needs one before. */
function limitConnect(socket: Socket, timeoutMs: number, onConnected: () => void): void {
  const giveUp = (): void => {
    socket.destroy(Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' }));
  };
  const timer = timeoutMs === 0 ? undefined : setTimeout(giveUp, timeoutMs);
  socket.once('connect', () => {
    clearTimeout(timer);
    onConnected();
  });
  socket.once('close', () => clearTimeout(timer));
}

function asHeaderObject(flat: readonly string[]): IncomingHttpHeaders {
  const out: Record<string, string | string[]> = { connection: 'Upgrade', upgrade: 'websocket' };
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const name = flat[at] ?? '';
    const value = flat[at + 1] ?? '';
    const before = out[name];
    out[name] = before === undefined ? value : [before, value].flat();
  }
  return out;
}
