import type { ModelFault, ModelJudge } from './model-names.ts';
import { namesModels } from './model-names.ts';
import type { BodyScan } from './model-scan.ts';

/** Bytes of the fields at the head of a part; python-multipart takes 4 KB a line. */
const LONGEST_HEAD = 8 * 1024;
/** Bytes of a field that names a model, or of a whole form that is no multipart. */
const LONGEST_FIELD = 64 * 1024;

/** RFC 2046 §5.1.1, without the space. */
const MULTIPART =
  /^multipart\/form-data\s*;\s*boundary=(?:"([\w'()+,./:=?-]{1,70})"|([\w'()+./=?-]{1,70}))$/i;
/** RFC 7578 §4.2: one name, no escapes, no extended name. Of a file name anything else. */
const DISPOSITION = new RegExp(
  /^form-data; ?name="([^"\\\r\n]*)"/.source +
    /(?:; ?filename="([^"\\\r\n]*)")?(?:; ?filename\*=([\w'%.~!-]*))?$/.source,
  'i',
);

const END = Buffer.from('--');
const LINE = Buffer.from('\r\n');
const EMPTY_LINE = Buffer.from('\r\n\r\n');

/** The boundary that `Content-Type` names; undefined: two programs may read it in two ways. */
export function boundaryOf(contentType: string): string | undefined {
  const [, quoted, plain] = MULTIPART.exec(contentType.trim()) ?? [];
  return quoted ?? plain;
}

/**
 * Looks through a form for the fields that name models (`dict(await request.form())` in LiteLLM's
 * http_parsing_utils.py; of a field that stands twice the last one counts, and each is judged).
 * What is let through has the shape that clients write, which is read in one way by all: no
 * preamble, no padding behind a boundary, no second name of a part.
 */
export class FormModelScan implements BodyScan {
  readonly #judge: ModelJudge;
  /** What stands before each part, the first included. */
  readonly #delimiter: Buffer;
  #state: 'boundary' | 'head' | 'data' | 'done' = 'boundary';
  #fault: ModelFault | undefined;
  /** What was not read yet: a part of a head, of a value, or of a boundary. */
  #rest: Buffer = LINE;
  /** The field whose value is being read; undefined: it does not count. */
  #field: string | undefined;

  constructor(judge: ModelJudge, boundary: string) {
    this.#judge = judge;
    this.#delimiter = Buffer.from(`\r\n--${boundary}`);
  }

  read(chunk: Buffer): ModelFault | undefined {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#fault === undefined) {
      const read = this.#step(bytes);
      if (read < 0) break;
      bytes = bytes.subarray(read);
    }
    this.#rest = bytes;
    return this.#fault;
  }

  end(): ModelFault | undefined {
    if (this.#fault === undefined && this.#state !== 'done') this.#refuse('the form does not end');
    return this.#fault;
  }

  #refuse(why: string): number {
    this.#fault = { why };
    return -1;
  }

  /** Returns how many bytes were read; -1: more are needed. */
  #step(bytes: Buffer): number {
    switch (this.#state) {
      case 'boundary':
        return this.#boundary(bytes);
      case 'head':
        return this.#head(bytes);
      case 'data':
        return this.#data(bytes);
      case 'done':
        // Only an end of a line may follow.
        return bytes.length > 2 || !LINE.subarray(0, bytes.length).equals(bytes)
          ? this.#refuse('something stands behind the form')
          : -1;
    }
  }

  #boundary(bytes: Buffer): number {
    const after = this.#delimiter.length;
    const begins = bytes.subarray(0, after);
    if (!begins.equals(this.#delimiter.subarray(0, begins.length))) {
      return this.#refuse('the form does not begin with its boundary');
    }
    if (bytes.length < after + 2) return -1;
    const next = bytes.subarray(after, after + 2);
    if (next.equals(LINE)) this.#state = 'head';
    else if (next.equals(END)) this.#state = 'done';
    else return this.#refuse('something stands behind a boundary of the form');
    return after + 2;
  }

  #head(bytes: Buffer): number {
    const end = bytes.indexOf(EMPTY_LINE);
    const length = end < 0 ? bytes.length : end;
    if (length > LONGEST_HEAD) return this.#refuse('a part of the form has too many fields');
    if (end < 0) return -1;
    const name = nameOf(bytes.toString('latin1', 0, end));
    if (name === undefined) return this.#refuse('a part of the form has no plain name');
    const [base = ''] = name.field.split('[', 1);
    this.#field = namesModels(base) ? name.field : undefined;
    if (this.#field !== undefined && name.isFile) return this.#refuse(`"${base}" is a file`);
    this.#state = 'data';
    return end + EMPTY_LINE.length;
  }

  #data(bytes: Buffer): number {
    const end = bytes.indexOf(this.#delimiter);
    const length = end < 0 ? bytes.length : end;
    if (this.#field === undefined) {
      if (end >= 0) this.#state = 'boundary';
      // The end of these bytes may be the beginning of a boundary.
      return end >= 0 ? end : Math.max(0, length - this.#delimiter.length) || -1;
    }
    if (length > LONGEST_FIELD) return this.#refuse(`"${this.#field}" is too long`);
    if (end < 0) return -1;
    this.#state = 'boundary';
    this.#fault = judgeField(this.#judge, this.#field, bytes.subarray(0, end));
    return end;
  }
}

/** The name of a part; undefined: it has none, or more than one program may find. */
function nameOf(head: string): { field: string; isFile: boolean } | undefined {
  let found: RegExpExecArray | null = null;
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon <= 0 || /[\s\0]/.test(line.slice(0, colon)) || /[\r\n\0]/.test(line))
      return undefined;
    if (line.slice(0, colon).toLowerCase() !== 'content-disposition') continue;
    if (found !== null) return undefined;
    found = DISPOSITION.exec(line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, ''));
    if (found === null) return undefined;
  }
  if (found === null) return undefined;
  const [, field = '', filename, extended] = found;
  return { field, isFile: filename !== undefined || extended !== undefined };
}

function judgeField(judge: ModelJudge, name: string, value: Buffer): ModelFault | undefined {
  // Latin-1 is what Starlette falls back to; a name of a model beyond ASCII is no matter for it.
  if (value.some((byte) => byte >= 0x80)) return { why: `"${name}" is not ASCII` };
  return judge.field(name, value.toString('latin1'));
}

/** A form of `application/x-www-form-urlencoded`: short, as nobody sends a file in one. */
export class QueryModelScan implements BodyScan {
  readonly #judge: ModelJudge;
  #text = '';
  #fault: ModelFault | undefined;

  constructor(judge: ModelJudge) {
    this.#judge = judge;
  }

  read(chunk: Buffer): ModelFault | undefined {
    this.#text += chunk.toString('latin1');
    if (this.#text.length > LONGEST_FIELD) this.#fault = { why: 'the form is too long' };
    return this.#fault;
  }

  end(): ModelFault | undefined {
    if (this.#fault !== undefined) return this.#fault;
    // python-multipart takes a semicolon for a separator, too.
    // It must not be JSON to whoever does not look at its media type.
    if (!/^(?!\{)[\x21-\x3a\x3c-\x7e]*$/.test(this.#text)) return { why: 'the form is not plain' };
    return judgeQuery(this.#judge, this.#text);
  }
}

/** Judges each parameter of a query, or of a form that is written like one. */
export function judgeQuery(judge: ModelJudge, query: string): ModelFault | undefined {
  // A question mark at the beginning is left out by URLSearchParams, and by nobody else.
  for (const [name, value] of new URLSearchParams(`&${query}`)) {
    const fault = judge.field(name, value);
    if (fault !== undefined) return fault;
  }
  return undefined;
}
