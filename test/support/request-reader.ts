/** The head of a request, byte for byte and in parts. */
export interface SeenHead {
  readonly rawHead: string;
  readonly method: string;
  readonly target: string;
  /** Name and value as they came, in their order. */
  readonly fields: readonly (readonly [string, string])[];
  /** The values of a field, whatever its case. */
  values(name: string): readonly string[];
}

/** What hears of the body that belongs to a head. */
export interface BodyReader {
  /** Bytes after the head as they came, with the framing. */
  onRaw(chunk: Buffer): void;
  onBody(chunk: Buffer): void;
  onEnd(trailers: readonly string[]): void;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');

/** What comes next. `raw`: everything is body; `ignore`: nobody reads on. */
type State = 'head' | 'length' | 'size' | 'data' | 'dataEnd' | 'trailers' | 'raw' | 'ignore';

/**
 * Cuts the bytes of one connection into requests: strict, small, and for what the sidecar sends
 * (RFC 9112 §6). Undefined from `onHead`: the rest of the connection is not read. Behind an
 * upgrade everything is body.
 *
 * @throws Error where what comes is no HTTP/1.1: the sidecar sent garbage
 */
export function createRequestReader(onHead: (head: SeenHead) => BodyReader | undefined) {
  let buffered: Buffer = Buffer.alloc(0);
  let body: BodyReader | undefined;
  let state = 'head' as State;
  let left = 0;
  let trailers: string[] = [];

  const take = (bytes: number): Buffer => {
    const taken = buffered.subarray(0, bytes);
    buffered = buffered.subarray(bytes);
    if (state !== 'head') body?.onRaw(taken);
    return taken;
  };
  const takeUntil = (end: Buffer): string | undefined => {
    const at = buffered.indexOf(end);
    return at < 0 ? undefined : take(at + end.length).toString('latin1', 0, at);
  };
  const finish = (): boolean => {
    body?.onEnd(trailers);
    trailers = [];
    state = 'head';
    return true;
  };
  const begin = (text: string): boolean => {
    const head = readHead(text);
    body = onHead(head);
    if (body === undefined) state = 'ignore';
    else if (head.values('upgrade').length > 0) state = 'raw';
    else if (head.values('transfer-encoding').length > 0) state = 'size';
    else {
      left = Number(head.values('content-length')[0] ?? 0);
      state = 'length';
      if (left === 0) return finish();
    }
    return true;
  };
  const payload = (next: State): boolean => {
    if (buffered.length === 0) return false;
    const chunk = take(Math.min(left, buffered.length));
    left -= chunk.length;
    body?.onBody(chunk);
    if (left > 0) return false;
    if (next === 'head') return finish();
    state = next;
    return true;
  };
  /** Goes one step; false: more bytes are needed. */
  const steps: Record<State, () => boolean> = {
    head() {
      const text = takeUntil(HEAD_END);
      return text === undefined ? false : begin(text);
    },
    length: () => payload('head'),
    size() {
      const line = takeUntil(LINE_END);
      if (line === undefined) return false;
      if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`no chunk size: ${line}`);
      left = Number.parseInt(line, 16);
      state = left === 0 ? 'trailers' : 'data';
      return true;
    },
    data: () => payload('dataEnd'),
    dataEnd() {
      if (takeUntil(LINE_END) === undefined) return false;
      state = 'size';
      return true;
    },
    trailers() {
      const line = takeUntil(LINE_END);
      if (line === undefined) return false;
      if (line === '') return finish();
      trailers.push(line);
      return true;
    },
    raw() {
      if (buffered.length > 0) body?.onBody(take(buffered.length));
      return false;
    },
    ignore() {
      buffered = Buffer.alloc(0);
      return false;
    },
  };
  return (chunk: Buffer): void => {
    buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
    while (steps[state]());
  };
}

function readHead(rawHead: string): SeenHead {
  const [line = '', ...lines] = rawHead.split('\r\n');
  const [, method = '', target = ''] = /^(\S+) (\S+) HTTP\/1\.1$/.exec(line) ?? [];
  if (method === '') throw new Error(`no request line: ${line}`);
  const fields = lines.map((text): [string, string] => {
    const [, name = '', value = ''] = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/.exec(text) ?? [];
    if (name === '') throw new Error(`no field: ${text}`);
    return [name, value];
  });
  const values = (name: string): string[] =>
    fields.flatMap(([key, value]) => (key.toLowerCase() === name.toLowerCase() ? [value] : []));
  return { rawHead, method, target, fields, values };
}
