import type { Transform } from 'node:stream';
import { type MayUseModel, mayUseModels } from '../keyring/model-globs.ts';
import { boundaryOf, FormModelScan, judgeQuery, QueryModelScan } from '../litellm/form-scan.ts';
import { type ModelFault, ModelJudge } from '../litellm/model-names.ts';
import { type BodyScan, JsonModelScan } from '../litellm/model-scan.ts';
import { modelInPath } from '../litellm/routes.ts';
import type { Route } from '../litellm/routes-table.ts';
import { type Refusal, refusal } from '../refusal.ts';
import { cut, printable } from '../text/safe.ts';
import { decoderOf } from './content-coding.ts';
import { type Head, hasBody } from './head.ts';
import type { Target } from './target.ts';

/** LiteLLM takes a model from it on the routes of files and batches, and may do so on others. */
const MODEL_HEADER = 'x-litellm-model';

/** Characters of a model's name, and of a list of them, in a message. */
const LONGEST_NAME = 80;
const LONGEST_LIST = 300;

/** Bytes of a body, decoded, that are looked at: a bomb is a thousand times its size. */
const MOST_DECODED = 32 * 1024 * 1024;
/** Bytes that may wait to be decoded before the client has to wait, too. */
const MOST_WAITING = 256 * 1024;

/** What is left of a check whose request has passed with its head. */
export interface ModelCheck {
  readonly mayUse: MayUseModel;
  /** The answer lists models, of which the client sees those that it may use. */
  readonly isList: boolean;
  /** Makes what looks through the body; undefined: the body names no model. */
  readonly body: ((deny: (reason: Refusal) => void) => BodyCheck) | undefined;
}

/**
 * Judges which models a request names in its head, for a client that may use some models only. What
 * cannot be told is refused.
 *
 * @param globs the client's models; the same array until they change
 */
export function checkModels(
  { head, target, route }: { head: Head; target: Target; route: Route },
  globs: readonly string[],
): ModelCheck | Refusal {
  const mayUse = mayUseModels(globs);
  const judge = new ModelJudge(mayUse);
  const deny = (fault: ModelFault): Refusal => modelDenied(fault, globs);
  const { modelPlace } = route;
  if (modelPlace === 'unknown') return deny({ why: 'which one this route uses cannot be told' });
  const isList = modelPlace === 'list';
  if (isList || modelPlace === 'none') return { mayUse, isList, body: undefined };

  const fault = judgeHead(judge, { head, target, route });
  if (fault !== undefined) return deny(fault);
  if (modelPlace === 'query' || !hasBody(head)) {
    return judge.isNamed ? { mayUse, isList, body: undefined } : deny(NONE);
  }
  // In LiteLLM the body's own model may rule, or one that a query names for it.
  if (modelPlace === 'body') judge.isNamed = false;
  const plan = planOf(head);
  if ('why' in plan) return deny(plan);
  const body = (told: (reason: Refusal) => void): BodyCheck =>
    new BodyCheck(plan, judge, (bodyFault) => told(deny(bodyFault)));
  return { mayUse, isList, body };
}

const NONE: ModelFault = { why: 'the request names none' };

function judgeHead(
  judge: ModelJudge,
  { head, target, route }: { head: Head; target: Target; route: Route },
): ModelFault | undefined {
  if (head.names.includes(MODEL_HEADER)) {
    const named = head.values.filter((_, at) => head.names[at] === MODEL_HEADER);
    for (const name of named) {
      const fault = judge.model(name);
      if (fault !== undefined) return fault;
    }
    judge.isNamed = false;
  }
  const { rawQuery } = target;
  // FastAPI takes `?model=` for the argument of many a handler, which rules over the body's.
  const inQuery = rawQuery === undefined ? undefined : judgeQuery(judge, rawQuery);
  if (inQuery !== undefined || route.modelPlace !== 'path') return inQuery;
  const name = modelInPath(route, target.path);
  return name === undefined ? { why: 'the path names none' } : judge.model(name);
}

const PLAIN_JSON: BodyPlan = { coding: '', form: 'json' };

/** The fields by which a body is read. */
const READ_BY = ['content-type', 'content-encoding'];

/** How the bytes of a body are read. */
interface BodyPlan {
  /** `Content-Encoding`; '' where there is none. */
  readonly coding: string;
  readonly form: 'json' | 'query' | { readonly boundary: string };
}

/**
 * Of codings LiteLLM reads gzip and zstd (request_body_decompression_middleware.py), each alone; of
 * forms it reads what has their media type, and whatever else is JSON to it.
 */
function planOf(head: Head): BodyPlan | { readonly why: string } {
  const { repeated, connectionOptions } = head;
  const type = fieldIn(head, 'content-type');
  const coding = fieldIn(head, 'content-encoding').toLowerCase();
  // What `Connection` names, LiteLLM does not get.
  const isDoubtful = (name: string): boolean =>
    repeated.has(name) || connectionOptions.includes(name);
  if (repeated.size + connectionOptions.length > 0 && READ_BY.some(isDoubtful)) {
    return { why: 'Content-Type or Content-Encoding stands twice, or in Connection' };
  }
  if (type === 'application/json' && coding === '') return PLAIN_JSON;
  if (!/^[\x20-\x7e]*$/.test(type)) return { why: 'Content-Type is not ASCII' };
  const form = formOf(type);
  if (form === undefined) return { why: 'Content-Type is none that all read alike' };
  if (coding === '' || coding === 'identity') return { coding: '', form };
  if (form !== 'json') return { why: 'a form cannot be compressed' };
  if (!['gzip', 'x-gzip', 'zstd'].includes(coding) || !canDecode(coding)) {
    return { why: 'this Content-Encoding cannot be read here: send it as it is, or as gzip' };
  }
  return { coding, form };
}

const fieldIn = ({ names, values }: Head, name: string): string => {
  const at = names.indexOf(name);
  return at < 0 ? '' : (values[at] ?? '').trim();
};

function formOf(type: string): BodyPlan['form'] | undefined {
  const media = type.split(';', 1)[0]?.trim().toLowerCase();
  if (media === 'application/x-www-form-urlencoded') return 'query';
  if (media !== 'multipart/form-data') return 'json';
  const boundary = boundaryOf(type);
  return boundary === undefined ? undefined : { boundary };
}

const readable = new Map<string, boolean>();

function canDecode(coding: string): boolean {
  const known = readable.get(coding);
  if (known !== undefined) return known;
  const decoder = decoderOf(coding);
  decoder?.destroy();
  readable.set(coding, decoder !== undefined);
  return decoder !== undefined;
}

function scanOf({ form }: BodyPlan, judge: ModelJudge): BodyScan {
  if (form === 'json') return new JsonModelScan(judge);
  if (form === 'query') return new QueryModelScan(judge);
  return new FormModelScan(judge, form.boundary);
}

/**
 * Looks through the body of one request, whose end LiteLLM gets only once it has passed: LiteLLM
 * does nothing with a part of a body.
 */
export class BodyCheck {
  /** Its bytes are what LiteLLM reads: they are judged at once, as they are shown. */
  readonly isPlain: boolean;
  readonly #scan: BodyScan;
  readonly #judge: ModelJudge;
  readonly #onFault: (fault: ModelFault) => void;
  readonly #decoder: Transform | undefined;
  #decoded = 0;
  #isOver = false;
  #hasPassed = false;
  #onPassed: (() => void) | undefined;

  constructor(plan: BodyPlan, judge: ModelJudge, onFault: (fault: ModelFault) => void) {
    this.#judge = judge;
    this.#scan = scanOf(plan, judge);
    this.#onFault = onFault;
    this.isPlain = plan.coding === '';
    this.#decoder = this.isPlain ? undefined : this.#openDecoder(plan.coding);
  }

  /** Is shown each piece once. */
  read(chunk: Buffer): void {
    if (this.#isOver) return;
    if (this.#decoder === undefined) this.#tell(this.#scan.read(chunk));
    else this.#decoder.write(chunk);
  }

  /** Whether more can be read now; if not, `ready` is called when it can. */
  isReady(ready: () => void): boolean {
    const decoder = this.#decoder;
    if (decoder === undefined || this.#isOver || decoder.writableLength < MOST_WAITING) return true;
    decoder.once('drain', ready);
    return false;
  }

  /** The body is whole. `passed` is called if it has passed, at once where that is known. */
  end(passed: () => void): void {
    if (this.#hasPassed) passed();
    if (this.#isOver) return;
    const isFirst = this.#onPassed === undefined;
    this.#onPassed = passed;
    if (this.#decoder === undefined) this.#decide();
    // A second try waits for the same end.
    else if (isFirst) this.#decoder.once('end', () => this.#decide()).end();
  }

  #decide(): void {
    const fault = this.#scan.end() ?? (this.#judge.isNamed ? undefined : NONE);
    if (fault !== undefined) {
      this.#tell(fault);
    } else if (!this.#isOver) {
      this.#isOver = true;
      this.#hasPassed = true;
      this.#onPassed?.();
    }
  }

  /** Nobody asks any more. */
  close(): void {
    this.#isOver = true;
    this.#decoder?.destroy();
  }

  #tell(fault: ModelFault | undefined): void {
    if (fault === undefined || this.#isOver) return;
    this.close();
    this.#onFault(fault);
  }

  #openDecoder(coding: string): Transform | undefined {
    const decoder = decoderOf(coding);
    decoder?.on('error', () => this.#tell({ why: `the body is no ${coding}` }));
    decoder?.on('data', (chunk: Buffer) => {
      this.#decoded += chunk.length;
      const isBomb = this.#decoded > MOST_DECODED;
      this.#tell(isBomb ? { why: 'the body is too large when decoded' } : this.#scan.read(chunk));
    });
    return decoder;
  }
}

/** The refusal of a request for its models; names are a client's own text. */
export function modelDenied(fault: ModelFault, globs: readonly string[]): Refusal {
  const allowed = cut(printable(globs.join(', ')), LONGEST_LIST);
  if ('model' in fault) {
    const name = cut(printable(fault.model.slice(0, 4 * LONGEST_NAME)), LONGEST_NAME);
    const message = `this key may not use the model "${name}": it may use ${allowed}`;
    return refusal('model_denied', message);
  }
  return refusal('model_denied', `this key may use certain models only (${allowed}): ${fault.why}`);
}
