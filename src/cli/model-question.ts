import { fieldOf, parseJson } from '../text/safe.ts';
import { errorUnder200 } from './answer-words.ts';

/** What a model is asked, to see whether it answers. */
export interface Question {
  /** As LiteLLM names what a model is for (`model_info.mode`). */
  readonly mode: string;
  readonly path: string;
  /** Its answer can be asked for as a stream of `choices`. */
  readonly streams: boolean;
  readonly bodyFor: (model: string) => object;
  /** What is wrong with the body of a 200; undefined: nothing. */
  readonly faultIn: (body: Buffer, contentType: string) => string | undefined;
}

/** Small, and not below the 16 that OpenAI's newer endpoints demand at least. */
const ANSWER_TOKENS = 16;
const WORDS = 'Say: ok';
/** The head of a RIFF WAVE with 4,000 bytes of PCM, at 16,000 bytes a second. */
const WAVE_HEAD = 'UklGRsQPAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YaAPAAA=';
/** A quarter of a second. */
const SILENCE = Buffer.concat([Buffer.from(WAVE_HEAD, 'base64'), Buffer.alloc(4000)]);

/** A question whose answer is JSON with a list that is not empty. */
const inJson = (mode: string, path: string, list: string, rest: object): Question => ({
  ...{ mode, path, streams: mode === 'chat' },
  bodyFor: (model) => ({ model, ...rest }),
  faultIn: (body) => faultInJson(body.toString(), list),
});

/** By what a model is for. Each is as small as its endpoint allows; an image costs some cents. */
const QUESTIONS: readonly Question[] = [
  inJson('chat', '/v1/chat/completions', 'choices', {
    messages: [{ role: 'user', content: WORDS }],
    max_tokens: ANSWER_TOKENS,
  }),
  inJson('responses', '/v1/responses', 'output', {
    input: WORDS,
    max_output_tokens: ANSWER_TOKENS,
  }),
  inJson('completion', '/v1/completions', 'choices', { prompt: WORDS, max_tokens: ANSWER_TOKENS }),
  inJson('embedding', '/v1/embeddings', 'data', { input: 'ok' }),
  inJson('moderation', '/v1/moderations', 'results', { input: 'ok' }),
  inJson('rerank', '/v1/rerank', 'results', { query: 'ok', documents: ['ok', 'no'] }),
  inJson('image_generation', '/v1/images/generations', 'data', { prompt: 'a dot', n: 1 }),
  {
    ...{ mode: 'audio_speech', path: '/v1/audio/speech', streams: false },
    bodyFor: (model) => ({ model, input: 'ok', voice: 'alloy' }),
    faultIn(body, contentType) {
      if (body.length === 0) return 'the answer is empty';
      if (!/^application\/json\b/i.test(contentType)) return undefined;
      return errorUnder200(parseJson(body.toString())) ?? 'the answer is json, and no sound';
    },
  },
  {
    ...{ mode: 'audio_transcription', path: '/v1/audio/transcriptions', streams: false },
    bodyFor(model) {
      const form = new FormData();
      form.set('model', model);
      form.set('file', new Blob([SILENCE], { type: 'audio/wav' }), 'silence.wav');
      return form;
    },
    faultIn(body) {
      const json = parseJson(body.toString());
      if (typeof fieldOf(json, 'text') === 'string') return undefined;
      return errorUnder200(json) ?? 'the answer holds no text';
    },
  },
];

const BY_MODE: ReadonlyMap<string, Question> = new Map(QUESTIONS.map((each) => [each.mode, each]));

/**
 * What a model is asked; undefined: it is for something that is not tried.
 *
 * @param mode undefined, where LiteLLM does not say: then it is taken to chat
 */
export const questionFor = (mode = 'chat'): Question | undefined => BY_MODE.get(mode);

/** What is wrong with the body of a 200 that should hold such a list; undefined: nothing. */
export function faultInJson(text: string, list: string): string | undefined {
  const body = parseJson(text);
  if (body === undefined) return 'the answer is not json';
  const found = fieldOf(body, list);
  const isThere = Array.isArray(found) && found.length > 0;
  return errorUnder200(body) ?? (isThere ? undefined : `the answer holds no ${list}`);
}
