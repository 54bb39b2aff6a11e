import { recordArtefact } from './key-ledger.ts';
import { callRaw, type RawCaller } from './raw-caller.ts';

/** One answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number;
  readonly body: string;
  /** A field's value, its name in any case; undefined: it is not there. */
  field(name: string): string | undefined;
}

/** What a connection brought until it ended. */
export interface Conversation {
  readonly answers: readonly RawAnswer[];
  /** The codes of `x-sidecar-refusal`, one to an answer; undefined: it came from the upstream. */
  readonly refusals: readonly (string | undefined)[];
  /** Bytes behind the last answer that are no answer: always '' where nothing was mixed. */
  readonly rest: string;
  readonly ended: 'end' | 'reset';
}

const CRLF = '\r\n';

/** The lines of a head, and the empty one behind it. */
export const head = (...lines: readonly string[]): string => [...lines, '', ''].join(CRLF);

/** What the client says last: it has the server close, so that its end is the end of all answers. */
export const lastRequest = (key: string, target = '/v1/models?last'): string =>
  head(
    `GET ${target} HTTP/1.1`,
    'host: gateway',
    `authorization: Bearer ${key}`,
    'connection: close',
  );

/** Says all these bytes in one piece on one connection, and listens to its end. */
export async function converse(port: number, bytes: string | Buffer): Promise<Conversation> {
  const caller = await callRaw(port);
  caller.send(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  return await conversation(caller);
}

/** Listens to the end of a connection. */
export async function conversation(caller: RawCaller): Promise<Conversation> {
  const ended = await caller.ended;
  caller.leave();
  const { answers, rest } = readAnswers(caller.received);
  const refusals = answers.map((answer) => answer.field('x-sidecar-refusal'));
  answers.forEach(({ body }, at) => {
    if (refusals[at] !== undefined) recordArtefact('error body', 'an answer', body);
  });
  return { answers, refusals, rest, ended };
}

/** Resolves to the answer with this index, once it is there whole. */
export async function answerAt(caller: RawCaller, index: number): Promise<RawAnswer> {
  for (let seen = 0; ; seen = caller.received.length) {
    const answer = readAnswers(caller.received).answers[index];
    if (answer !== undefined) return answer;
    await caller.until(new RegExp(`^[^]{${seen + 1}}`));
  }
}

/** Cuts what came into answers. None of them may be to a HEAD, whose length is not its body's. */
export function readAnswers(text: string): { answers: RawAnswer[]; rest: string } {
  const answers: RawAnswer[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf(CRLF + CRLF);
    const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(rest) ?? [];
    if (end < 0 || status === undefined) return { answers, rest };
    const field = readFields(rest.slice(0, end));
    const read = Number(status) < 200 ? ['', 0] : readBody(rest.slice(end + 4), field);
    if (read === undefined) return { answers, rest };
    const [body, length] = read as [string, number];
    answers.push({ status: Number(status), body, field });
    rest = rest.slice(end + 4 + length);
  }
}

function readFields(text: string): RawAnswer['field'] {
  const fields = text
    .split(CRLF)
    .slice(1)
    .map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    });
  return (name) => fields.find(([found]) => found === name.toLowerCase())?.[1];
}

/** The body and how many bytes it took; undefined: it is not there whole. */
function readBody(text: string, field: RawAnswer['field']): [string, number] | undefined {
  if (field('transfer-encoding') === undefined) {
    const length = Number(field('content-length') ?? 0);
    return text.length < length ? undefined : [text.slice(0, length), length];
  }
  let body = '';
  let at = 0;
  for (;;) {
    const [line, size] = /^([0-9a-f]+)\r\n/i.exec(text.slice(at)) ?? [];
    if (line === undefined) return undefined;
    const length = Number.parseInt(size ?? '', 16);
    const end = at + line.length + length + CRLF.length;
    if (text.length < end) return undefined;
    body += text.slice(at + line.length, end - CRLF.length);
    at = end;
    if (length === 0) return [body, at];
  }
}
