import { describe, expect, it } from 'vitest';
import {
  costOf,
  readUsage,
  type Said,
  type Tokens,
  type UsageReading,
} from '../../src/litellm/usage.ts';
import { EventUsage } from '../../src/litellm/usage-events.ts';
import { JsonUsage } from '../../src/litellm/usage-json.ts';
import { ANSWERS, type AnswerRow, readAnswer } from '../support/answers.ts';

/** Where LiteLLM's translation tells less than the provider did, or guesses. */
const TRANSLATED: Record<string, Partial<Tokens>> = {
  'chat-sse-thinking': { reasoning: 4 },
  'google-json-openai': { cached: 0 },
  'google-sse-openai': { cached: 0 },
};
/** Streams of a LiteLLM that was not set to tell their usage. */
const UNTOLD = new Set(['chat-sse-unset', 'chat-sse-claude-unset', 'completions-sse-unset']);
/** Streams that broke off, or say that they failed. */
const BROKEN = /-(?:errs|breaks)$/;
/** Streams whose price LiteLLM does not know, or made of less than all. */
const UNPRICED = /^google-|-unpriced$|-short$|^messages-.*unset$/;

const expected = ({ name, used }: AnswerRow): UsageReading => {
  if (BROKEN.test(name)) return { fault: 'cut' };
  if (used === undefined || UNTOLD.has(name)) return { fault: 'absent' };
  const isPriced = name.includes('-sse') && !UNPRICED.test(name);
  const cost = isPriced ? expect.closeTo(0.0005, 3) : undefined;
  return { tokens: { ...used, ...TRANSLATED[name] }, cost };
};

const read = (bytes: Buffer | string, reader: EventUsage | JsonUsage = new JsonUsage()) => {
  reader.read(Buffer.from(bytes));
  return reader.end(true);
};

const NONE: Tokens = { input: 0, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 };

describe('the usage of what a real LiteLLM answered', () => {
  it.each(ANSWERS)('$name', (row) => {
    const { headers, body } = readAnswer(row.name);
    const isStream = headers['content-type']?.startsWith('text/event-stream') === true;
    const reader = isStream ? new EventUsage() : new JsonUsage();
    reader.read(body);
    // The connection of this one broke off.
    expect(reader.end(row.name !== 'responses-sse-errs')).toEqual(expected(row));
    expect(reader.model).toBe(row.name === 'responses-sse-falls-back' ? 'claude' : '');
  });
});

describe('a usage', () => {
  it.each<[string, Said, Partial<Tokens>]>([
    [
      "of OpenAI's chat",
      {
        ...{ prompt_tokens: 9, completion_tokens: 12, total_tokens: 21 },
        prompt_tokens_details: { cached_tokens: 3, cache_write_tokens: 2, audio_tokens: 0 },
        completion_tokens_details: { reasoning_tokens: 5, rejected_prediction_tokens: 0 },
      },
      { input: 9, output: 12, cached: 3, cacheWrite: 2, reasoning: 5 },
    ],
    ['of embeddings', { prompt_tokens: 8, total_tokens: 8 }, { input: 8 }],
    ['without details', { prompt_tokens: 8, prompt_tokens_details: null }, { input: 8 }],
    [
      "of OpenAI's responses",
      {
        ...{ input_tokens: 36, input_tokens_details: { cached_tokens: 4 } },
        ...{ output_tokens: 87, output_tokens_details: { reasoning_tokens: 7 } },
      },
      { input: 36, output: 87, cached: 4, reasoning: 7 },
    ],
    [
      "of Anthropic's messages, whose input leaves out the cache",
      {
        ...{ input_tokens: 10, output_tokens: 9 },
        ...{ cache_creation_input_tokens: 200, cache_read_input_tokens: 3000 },
        output_tokens_details: { thinking_tokens: 4 },
      },
      { input: 3210, output: 9, cached: 3000, cacheWrite: 200, reasoning: 4 },
    ],
    [
      "of Anthropic's messages in two steps, of which it sums up one",
      {
        ...{ input_tokens: 23, output_tokens: 9, cache_read_input_tokens: 4 },
        iterations: [
          { type: 'compaction', input_tokens: 180, output_tokens: 3, cache_read_input_tokens: 5 },
          { type: 'message', input_tokens: 23, output_tokens: 9, cache_read_input_tokens: 4 },
        ],
      },
      { input: 212, output: 12, cached: 9 },
    ],
    [
      "of Google's, whose output leaves out the thoughts",
      {
        ...{ promptTokenCount: 20, cachedContentTokenCount: 6, toolUsePromptTokenCount: 5 },
        ...{ candidatesTokenCount: 7, thoughtsTokenCount: 11, totalTokenCount: 43 },
      },
      { input: 25, output: 18, cached: 6, reasoning: 11 },
    ],
    [
      "of Google's, whose output has the thoughts",
      {
        ...{ promptTokenCount: 20, candidatesTokenCount: 18 },
        ...{ thoughtsTokenCount: 11, totalTokenCount: 38 },
      },
      { input: 20, output: 18, reasoning: 11 },
    ],
    [
      "of Google's interactions",
      { total_input_tokens: 5, total_output_tokens: 6, total_thought_tokens: 2, total_tokens: 13 },
      { input: 5, output: 8, reasoning: 2 },
    ],
    [
      "of Cohere's chat",
      { tokens: { input_tokens: 5, output_tokens: 2 } },
      { input: 5, output: 2 },
    ],
    ['of a ranking', { billed_units: { search_units: 1, total_tokens: 12 } }, { input: 12 }],
  ])('%s', (_, said, tokens) => {
    expect(readUsage(said)).toEqual({ tokens: { ...NONE, ...tokens }, cost: undefined });
  });

  it.each<[Said]>([
    [{ prompt_tokens: -1, completion_tokens: 5 }],
    [{ prompt_tokens: 1.5, completion_tokens: 5 }],
    [{ prompt_tokens: '12', completion_tokens: 5 }],
    [{ prompt_tokens: 1e12, completion_tokens: 5 }],
    [{ prompt_tokens: 5, completion_tokens: { n: 5 } }],
    [{ prompt_tokens: 5, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 6 } }],
    [{ prompt_tokens: 5, completion_tokens: 5, prompt_tokens_details: { cached_tokens: -6 } }],
    [{ input_tokens: 5, output_tokens: 5, output_tokens_details: { reasoning_tokens: 6 } }],
    [{ input_tokens: 5, cache_read_input_tokens: Number.NaN }],
    [{ promptTokenCount: 5, thoughtsTokenCount: true }],
  ])('that lies is none: %j', (said) => {
    expect(readUsage(said)).toEqual({ fault: 'invalid' });
  });

  it.each<[Said]>([[{}], [{ type: 'duration', seconds: 3 }], [{ prompt_tokens: 0 }]])(
    'that says nothing is none: %j',
    (said) => {
      expect(readUsage(said)).toEqual({ fault: 'absent' });
    },
  );
});

describe('the price', () => {
  it.each<[string, number | undefined, boolean, number | undefined]>([
    ['0.00055', undefined, false, 0.00055],
    ['5e-05', undefined, false, 0.00005],
    ['0', undefined, false, 0],
    ['', 0.2, false, 0.2],
    ['0.1', 0.2, false, 0.1],
    // A stream's head comes before its price.
    ['0', undefined, true, undefined],
    ['0.0', 0.2, true, 0.2],
    ['0.1', 0.2, true, 0.2],
    ['0.1', 0, true, 0],
    ['0.1', undefined, true, 0.1],
    // No prices.
    ['None', undefined, false, undefined],
    ['-1', undefined, false, undefined],
    ['NaN', undefined, false, undefined],
    ['Infinity', 0.2, false, 0.2],
    ['1e9', undefined, false, undefined],
  ])('of a head that says %j and an end that says %s (stream: %s) is %s', (...row) => {
    const [header, said, eventStream, price] = row;
    expect(costOf(header, said, eventStream)).toBe(price);
  });

  it.each([-1, '0.5', Number.NaN, 1e9, null])('is none where an answer says %s', (cost) => {
    expect(readUsage({ prompt_tokens: 1, cost })).toMatchObject({ cost: undefined });
  });
});

const SAID = '"usage":{"prompt_tokens":3,"completion_tokens":4}';
const TOLD = { tokens: { ...NONE, input: 3, output: 4 }, cost: undefined };
const LONG = 'x'.repeat(100_000);

describe('in JSON', () => {
  it.each([
    ['at the end', `{"choices":[],${SAID}}`],
    ['with spaces', `{ "choices": [] ,\r\n\t${SAID.replace(':', ' : ')} } \n`],
    ['before what a caller attached', `{"a":1,${SAID},"metadata":{"b":{"usage":{}}},"n":-1.5e3}`],
    ['before an object of that name in a deeper one', `{${SAID},"x":{"usage":{"a":1},"y":{}}}`],
    ['twice: the last counts', `{"usage":{"prompt_tokens":9},${SAID}}`],
    ['behind quotes and backslashes', `{"a":"\\\\\\"{[","b\\"":"\\\\",${SAID},"c":"]}\\""}`],
    ['behind a text that says it too', `{"a":"{\\"usage\\":{\\"prompt_tokens\\":9}}",${SAID}}`],
    ['at the end of a long one', `{"a":"${LONG}",${SAID}}`],
    ['at the beginning of a long one', `{"id":1,"l":[1,{"u":"}"}],${SAID},"data":"${LONG}"}`],
    ['of the last of a list', `[{"usage":{"prompt_tokens":9}},\n{"a":[],${SAID}}]`],
    ['of a list of long ones', `[{"a":"${LONG}","usage":{"a":1}},{"a":"${LONG}",${SAID}}]`],
    ['beside a meta', `{"meta":{"tokens":{"input_tokens":9}},${SAID},"meta":{"x":1}}`],
  ])('it is found %s', (_, text) => {
    expect(read(text)).toEqual(TOLD);
  });

  it.each([
    ['absent', '{"choices":[]}'],
    ['absent', '{"usage":null}'],
    ['absent', '{"usage":[{"prompt_tokens":1}]}'],
    ['absent', '{"usage":"{}","x":{"prompt_tokens":1}}'],
    ['absent', `{"input":{${SAID}}}`],
    ['absent', `{"my ${SAID.slice(1)}}`],
    ['absent', `[{${SAID}},{"id":1}]`],
    ['absent', `[[{${SAID}}]]`],
    ['absent', ''],
    ['absent', 'usage: 3'],
    ['absent', '<html>{}</html>'],
    ['invalid', '{"usage":{"prompt_tokens":-3}}'],
    ['invalid', '{"usage":{"prompt_tokens":03}}'],
    ['cut', `{"a":"${LONG}","usage":{"prompt`],
    ['too_large', `{"a":"${LONG}",${SAID},"b":"${LONG}"}`],
    ['too_large', `{"a":"${LONG}"}`],
    ['too_large', `{"a":{${SAID}},"b":"${LONG}"}`],
  ])('it is %s in %.60s', (fault, text) => {
    expect(read(text)).toEqual({ fault });
  });

  it('it is not looked for in an answer that broke off', () => {
    const reader = new JsonUsage();
    reader.read(Buffer.from(`{${SAID}}`));
    expect(reader.end(false)).toEqual({ fault: 'cut' });
  });
});

const CHUNK = '"object":"chat.completion.chunk"';
const GOOGLE = (prompt: number, reason: string) =>
  `data: {"candidates":[{"finishReason":${reason}}],"usageMetadata":{"promptTokenCount":${prompt}}}\n\n`;
const COMPLETED = `{"type":"response.completed","response":{"o":"${LONG}",${SAID},"m":{}},"n":1`;

describe('in a stream of events', () => {
  const readStream = (text: string, whole = true) => {
    const reader = new EventUsage();
    reader.read(Buffer.from(text));
    return { reading: reader.end(whole), chunks: reader.chunks, model: reader.model };
  };

  it.each([
    ['with a space', `data: {${SAID}}\n\n`],
    ['without a space', `data:{${SAID}}\n\n`],
    ['behind comments and other fields', `: ping\nid: 1\nretry: 3\ndata: {${SAID}}\n\n`],
    ['without an empty line at its end', `data: {${SAID}}\n`],
    ['without an end of its last line', `data: {${SAID}}`],
    ['with CR', `data: {"a":1}\r\rdata: {${SAID}}\r\rdata: [DONE]\r\r`],
    ['with CRLF', `data: {"a":1}\r\n\r\ndata: {${SAID}}\r\n\r\ndata: [DONE]\r\n\r\n`],
    ['twice: the last counts', `data: {"usage":{"prompt_tokens":9}}\n\ndata: {${SAID}}\n\n`],
    ['before events that say null', `data: {${SAID}}\n\ndata: {"usage":null}\n\n`],
    ['before events that say 0', `data: {${SAID}}\n\ndata: {"usage":{"prompt_tokens":0}}\n\n`],
    ['before an error', `data: {${SAID}}\n\ndata: {"error":{}}\n\n`],
    ['behind a tool that is called so', `data: {"tool":{"usage":{"a":1}},${SAID}}\n\n`],
    ['in a response', `data: {"type":"response.incomplete","response":{${SAID}}}\n\n`],
    ['in a long response', `data: ${COMPLETED}}\n\n`],
    ['in a long event', `data: {"type":"image_generation.completed","b":"${LONG}",${SAID}}\n\n`],
  ])('it is found %s', (_, text) => {
    expect(readStream(text).reading).toEqual(TOLD);
    // As it is where the client leaves behind it.
    if (text.endsWith('\n')) expect(readStream(text, false).reading).toEqual(TOLD);
  });

  it.each([
    ['absent', ''],
    ['absent', 'data: {"choices":[]}\n\ndata: [DONE]\n\n'],
    ['absent', `event: ${SAID}\n: {${SAID}}\nusage: {}\n\n`],
    ['absent', `data: {"tool":{${SAID}}}\n\n`],
    ['absent', `data: {"text":"${SAID.replaceAll('"', '\\"')}"}\n\n`],
    ['invalid', 'data: {"usage":{"prompt_tokens":"3"}}\n\n'],
    ['invalid', `data: {${SAID}\n\n`],
    ['invalid', 'data: {"usageMetadata":{"promptTokenCount":3\n\n'],
    ['cut', 'data: {"choices":[]}\n\ndata: {"error": {"message":"slow down"}}\n\n'],
    ['cut', 'data: {"type":"message_start","message":{"usage":{"input_tokens":3}}}\n\n'],
    ['cut', 'event: error\ndata: {"type": "error","error":{}}\n\n'],
    ['cut', `${GOOGLE(3, 'null')}data: {"error":{"code":500}}\n\n`],
    ['too_large', `data: {"a":"${LONG}"}`],
    ['too_large', `data: {${SAID},"a":"${LONG}"}\n\n`],
    ['too_large', `data: {"b":"${LONG}","c":{"d":{${SAID}}}}`],
  ])('it is %s in %.70s', (fault, text) => {
    expect(readStream(text).reading).toEqual({ fault });
  });

  it("Google's counts on: the last event's is that of the whole stream", () => {
    const stream = GOOGLE(3, 'null') + GOOGLE(4, 'null') + GOOGLE(5, '"STOP"');
    const told = { tokens: { ...NONE, input: 5 }, cost: undefined };
    expect(readStream(stream).reading).toEqual(told);
    expect(readStream(stream, false).reading).toEqual(told);
    expect(readStream(GOOGLE(3, 'null'), false).reading).toEqual({ fault: 'cut' });
  });

  it("Anthropic's end completes its beginning, and its price is that of the whole alone", () => {
    const start = { input_tokens: 10, cache_read_input_tokens: 20, output_tokens: 1 };
    const stream = (end: object) =>
      `data: ${JSON.stringify({ type: 'message_start', message: { usage: start } })}\n\n` +
      `data: ${JSON.stringify({ type: 'message_delta', usage: end })}\n\n`;
    const tokens = { ...NONE, input: 30, cached: 20, output: 7 };
    const short = { input_tokens: null, output_tokens: 7, cost: 0.1 };
    expect(readStream(stream({ ...short, input_tokens: 10 })).reading).toEqual({
      tokens,
      cost: 0.1,
    });
    delete (short as { input_tokens?: null }).input_tokens;
    expect(readStream(stream(short)).reading).toEqual({ tokens, cost: undefined });
  });

  it('events with data are counted: no sign of life, no end, no comment', () => {
    const ping = 'event: ping\ndata: {"type": "ping"}\n\n';
    const stream = `: a\n\n${ping}data: {"a":1}\n\ndata: {"b":\ndata: 2}\n\n\n\ndata: [DONE]\n\n`;
    expect(readStream(stream).chunks).toBe(2);
    expect(readStream(stream.replaceAll('\n', '\r\n')).chunks).toBe(2);
  });

  it.each([
    ['fallback', `{${CHUNK},"model":"gpt"}`, `{${CHUNK},"model":"fallback",${SAID}}`],
    ['', `{${CHUNK},"model":"gpt"}`, `{${CHUNK},"model":"gpt",${SAID}}`],
    // What is nested names no model of the stream's, wherever it stands.
    ['', `{"metadata":{"model":"mine"},"model":"gpt"}`, `{${CHUNK},"model":"gpt",${SAID}}`],
    ['', `{"x":"{","model":"gpt"}`, `{${CHUNK},"model":"gpt",${SAID}}`],
    ['', `{"model":"g\\u0070t"}`, `{${CHUNK},"model":"gpt",${SAID}}`],
    // Azure's first event names none.
    ['', `{${CHUNK},"model":""}\n\ndata: {"model":"gpt"}`, `{${CHUNK},"model":"gpt",${SAID}}`],
    ['', `{${CHUNK},"model":"gpt"}`, `{${CHUNK},"model":"a\\nb",${SAID}}`],
    ['', `{${CHUNK},"model":"gpt"}`, `{${CHUNK},"model":"${'n'.repeat(300)}",${SAID}}`],
    ['', `{${CHUNK},"model":"gpt"}`, `{${SAID}}`],
    [
      'claude',
      '{"type":"response.created","response":{"model":"x"},"model":"gpt"}',
      `${COMPLETED},"model":"claude"}`,
    ],
    [
      '',
      '{"type":"response.created","response":{"model":"x"},"model":"gpt"}',
      `${COMPLETED},"x":{"model":"no"}}`,
    ],
  ])('the model that went on is %j', (model, first, last) => {
    const told = readStream(`data: ${first}\n\ndata: ${last}\n\n`);
    expect(told).toMatchObject({ model, reading: TOLD });
  });
});
