import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Sidecar } from './sidecar.ts';

/** A client on a bare socket: it says bytes, and sees the bytes that come and how they end. */
export interface RawCaller {
  readonly socket: Socket;
  send(bytes: string | Buffer): boolean;
  /** All that came so far, one character a byte. */
  readonly received: string;
  /** Resolves to all that came once it holds this; rejects when the connection ends before. */
  until(wanted: string | RegExp): Promise<string>;
  /** How the connection ended: in order, or broken off. */
  readonly ended: Promise<'end' | 'reset'>;
  /** Closes with a FIN and hears no more. */
  leave(): void;
}

/** Connects to a port of this machine. */
export async function callRaw(port: number): Promise<RawCaller> {
  const socket = connect({ host: '127.0.0.1', port });
  const seen: string[] = [];
  let received = '';
  const waiting = new Set<() => void>();
  const wakeAll = (): void => {
    for (const wake of waiting) wake();
    waiting.clear();
  };
  let over: 'end' | 'reset' | undefined;
  const all = (): string => {
    if (seen.length > 0) received += seen.splice(0).join('');
    return received;
  };
  const finish = (how: 'end' | 'reset') => (): void => {
    over ??= how;
    wakeAll();
  };
  socket.on('data', (chunk: Buffer) => {
    seen.push(chunk.toString('latin1'));
    wakeAll();
  });
  socket.once('end', finish('end')).on('error', finish('reset')).once('close', finish('reset'));
  await once(socket, 'connect');
  const change = (): Promise<void> =>
    new Promise((resolve) => {
      waiting.add(resolve);
    });
  const end = async (): Promise<'end' | 'reset'> => {
    while (over === undefined) await change();
    return over;
  };
  return {
    socket,
    send: (bytes) => socket.write(bytes),
    get received() {
      return all();
    },
    async until(wanted) {
      for (;;) {
        const text = all();
        if (typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text)) return text;
        if (over !== undefined) throw new Error(`${over} before ${String(wanted)}: ${text}`);
        await change();
      }
    },
    ended: end(),
    leave: () => void socket.destroy(),
  };
}

/** The bytes of a request with the sidecar's key; a body gets its Content-Length. */
export function requestBytes(
  { key }: Pick<Sidecar, 'key'>,
  line: string,
  options: { fields?: readonly string[]; body?: string } = {},
): string {
  const { fields = [], body } = options;
  const framing = body === undefined ? [] : [`content-length: ${Buffer.byteLength(body)}`];
  const head = [`${line} HTTP/1.1`, 'host: gateway', `authorization: Bearer ${key}`];
  return [...head, ...framing, ...fields, '', body ?? ''].join('\r\n');
}

/** Connects and sends one request. */
export async function callWith(
  sidecar: Pick<Sidecar, 'port' | 'key'>,
  line: string,
  options: { fields?: readonly string[]; body?: string } = {},
): Promise<RawCaller> {
  const caller = await callRaw(sidecar.port);
  caller.send(requestBytes(sidecar, line, options));
  return caller;
}
