import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mayUseModels } from '../../src/keyring/model-globs.ts';
import { type ModelFault, ModelJudge } from '../../src/litellm/model-names.ts';
import { JsonModelScan } from '../../src/litellm/model-scan.ts';
import { cutAt } from '../support/pieces.ts';

const ALLOWED = ['mock', 'gpt-4o*'];

/** A body that names a model and passes, 'none' where it names none, or why it does not pass. */
function scan(pieces: Iterable<Buffer>): 'passes' | 'none' | ModelFault {
  const judge = new ModelJudge(mayUseModels(ALLOWED));
  const scanned = new JsonModelScan(judge);
  for (const piece of pieces) {
    const fault = scanned.read(piece);
    if (fault !== undefined) return fault;
  }
  return scanned.end() ?? (judge.isNamed ? 'passes' : 'none');
}

const scanText = (text: string | Buffer) => scan([Buffer.from(text)]);
const denied = (model: string) => ({ model });
const unreadable = (why = '') => ({ why: expect.stringContaining(why) as string });

describe('a JSON body', () => {
  it.each<[string, unknown]>([
    ['{"model":"mock"}', 'passes'],
    ['{"model":"gpt-4o-mini","messages":[]}', 'passes'],
    [' \r\n\t{ "model" : "mock" } \n', 'passes'],
    [
      '{"messages":[{"role":"user","content":"{\\"model\\":\\"evil\\"}"}],"model":"mock"}',
      'passes',
    ],
    ['{"messages":[{"model":"evil"}],"model":"mock"}', 'passes'],
    ['{"a":{"b":[1,{"model":"evil"}]},"model":"mock"}', 'passes'],
    ['{"model":"mock","temperature":-1.5e+3,"stream":true,"stop":null}', 'passes'],
    ['{"model":"mock","x":NaN,"y":-Infinity}', 'passes'],
    ['{"model":"mock","user":"\\\\"}', 'passes'],
    ['{"model":"evil"}', denied('evil')],
    ['{"mod\\u0065l":"evil"}', denied('evil')],
    ['{"\\u006d\\u006f\\u0064\\u0065\\u006c":"evil"}', denied('evil')],
    ['{"model":"m\\u006fck"}', 'passes'],
    ['{"model":"ev\\u0069l"}', denied('evil')],
    ['{"model":"mock","model":"evil"}', denied('evil')],
    ['{"model":"evil","model":"mock"}', denied('evil')],
    ['{"model":"mock","mod\\u0065l":"evil"}', denied('evil')],
    ['{"user":"a\\\\","model":"evil"}', denied('evil')],
    ['{"user":"a\\"","model":"evil"}', denied('evil')],
    ['{"":"","model":"evil"}', denied('evil')],
    ['{"model":" mock"}', denied(' mock')],
    ['{"model":"mock\\u0000"}', denied('mock\0')],
    ['{"model":"Mock"}', denied('Mock')],
    ['{"MODEL":"evil"}', 'none'],
    ['{}', 'none'],
    ['{"messages":[]}', 'none'],
    ['{"model":null}', 'none'],
    ['{"deployment_id":"mock"}', 'none'],
    ['{"target_model_names":"mock"}', 'none'],
    ['{"models":["mock"]}', 'none'],
    ['{"extra_body":{"model":"mock"}}', 'none'],
    ['{"model":""}', denied('')],
    ['{"model":"mock, gpt-4o"}', 'passes'],
    ['{"model":"mock,evil"}', denied('evil')],
    ['{"model":"mock,"}', denied('')],
    ['{"model":["mock"]}', unreadable('"model" is no text')],
    ['{"model":{"model":"mock"}}', unreadable('"model" is no text')],
    ['{"model":1}', unreadable('"model" is no text')],
  ])('%s', (text, verdict) => expect(scanText(text)).toEqual(verdict));

  it('has strings of any length, with escapes anywhere', () => {
    for (let length = 0; length < 200; length++) {
      const text = 'x'.repeat(length);
      for (const user of [`${text}"`, `${text}\\`, `${text}\\"${text}"`, `${text}"${text}\\\\`]) {
        expect(scanText(JSON.stringify({ user, model: 'evil' }))).toEqual(denied('evil'));
        const nested = { a: [user, { model: 'evil' }], model: 'mock' };
        expect(scanText(JSON.stringify(nested))).toBe('passes');
      }
    }
  });

  it.each<[string, unknown]>([
    ['"fallbacks":["gpt-4o","mock"]', 'passes'],
    ['"fallbacks":["mock","evil"]', denied('evil')],
    ['"fallbacks":[{"mock":["gpt-4o"]}]', 'passes'],
    ['"fallbacks":[{"mock":["evil"]}]', denied('evil')],
    ['"fallbacks":[{"model":"evil"}]', denied('evil')],
    ['"fallbacks":[{"model":"mock","fallbacks":["evil"]}]', denied('evil')],
    ['"f\\u0061llbacks":["evil"]', denied('evil')],
    ['"context_window_fallbacks":[{"mock":["evil"]}]', denied('evil')],
    ['"content_policy_fallbacks":["evil"]', denied('evil')],
    ['"context_window_fallback_dict":{"mock":"evil"}', denied('evil')],
    ['"models":["evil"]', denied('evil')],
    ['"silent_model":"evil"', denied('evil')],
    ['"models":null,"fallbacks":null,"user_config":null', 'passes'],
    ['"deployment_id":"evil"', denied('evil')],
    ['"target_model_names":"mock,evil"', denied('evil')],
    ['"target_model_names":["evil"]', denied('evil')],
    ['"extra_body":{"model":"evil"}', denied('evil')],
    ['"extra_body":{"a":{"models":["evil"]}}', denied('evil')],
    ['"extra_body":{"extra_body":{"model":"evil"}}', denied('evil')],
    ['"extra_body":{"provider":{"order":["any"]},"model":"mock"}', 'passes'],
    ['"extra_body":"{}"', unreadable('extra_body')],
    ['"model_list":[]', unreadable('model_list')],
    ['"user_config":{"model_list":[]}', unreadable('user_config')],
    ['"router_settings_override":{}', unreadable('router_settings_override')],
    ['"model_group_alias":{"mock":"evil"}', unreadable('model_group_alias')],
    ['"litellm_params":{}', unreadable('litellm_params')],
    ['"prompt_id":"p"', unreadable('prompt_id')],
    ['"model_id":"evil"', unreadable('model_id')],
    ['"model_id":"mock"', unreadable('model_id')],
    ['"model_id":null', 'passes'],
    ['"extra_body":{"model_id":"evil"}', unreadable('model_id')],
    ['"hf_model_name":"evil"', unreadable('hf_model_name')],
    ['"fallback_sap_modules":[{"model":"evil"}]', unreadable('fallback_sap_modules')],
    ['"oci_endpoint_id":"evil"', unreadable('oci_endpoint_id')],
    ['"oci_serving_mode":"DEDICATED"', unreadable('oci_serving_mode')],
    ['"riva_model_name":"evil"', unreadable('riva_model_name')],
    ['"agent_id":"evil"', unreadable('agent_id')],
    ['"assistant_id":"evil"', unreadable('assistant_id')],
    ['"tools":[{"type":"image_generation","model":"evil"}]', denied('evil')],
    ['"tools":[{"type":"x"},{"a":[{}],"mod\\u0065l":"evil"}]', denied('evil')],
    ['"tools":[{"model":"gpt-4o"},{"model":{"model":"evil"}}]', 'passes'],
    ['"tools":[{"parameters":{"properties":{"model":{"type":"string"}}}}]', 'passes'],
    ['"tools":{"x":[{"model":"evil"}]}', 'passes'],
    ['"tools":[[{"model":"evil"}]]', 'passes'],
    ['"tools":[],"tools":[{"model":"evil"}]', denied('evil')],
  ])('with %s beside its model', (member, verdict) => {
    expect(scanText(`{"model":"mock",${member}}`)).toEqual(verdict);
    expect(scanText(`{${member},"model":"mock"}`)).toEqual(verdict);
  });

  it.each<[string, string | Buffer]>([
    ['nothing', ''],
    ['white space', ' \n'],
    ['a list', '[{"model":"mock"}]'],
    ['a string', '"model"'],
    ['a number', '1'],
    ['a byte order mark', '\ufeff{"model":"mock"}'],
    ['UTF-16', Buffer.from('{"model":"mock"}', 'utf16le')],
    ['UTF-16, the other way around', Buffer.from('{"model":"mock"}', 'utf16le').swap16()],
    [
      'UTF-32',
      Buffer.concat([...'{"model":"mock"}'].map((c) => Buffer.from([0, 0, 0, c.charCodeAt(0)]))),
    ],
    ['half of an object', '{"model":"mock"'],
    ['half of a string', '{"model":"mock'],
    ['two objects', '{"model":"mock"}{"model":"evil"}'],
    ['something behind it', '{"model":"mock"}x'],
    ['a comma at its end', '{"model":"mock",}'],
    ['no comma', '{"model":"mock" "model":"evil"}'],
    ['a comment', '{"model":"mock",/*"*/"a":1}'],
    ['a comment in a list', '{"model":"mock","a":[1,//"\n2]}'],
    ['single quotes', "{'model':'mock'}"],
    ['single quotes in a list', `{"model":"mock","a":['"',"b"]}`],
    ['a name without quotes', '{model:"mock"}'],
    ['no colon', '{"model","mock"}'],
    ['a closing bracket too many', '{"model":"mock"]}'],
    ['an escape that is none', '{"mod\\el":"mock"}'],
    ['an escape that is none in a model', '{"model":"m\\ock"}'],
    ['a model that is not UTF-8', Buffer.from('{"model":"m\xff"}', 'latin1')],
    ['a model in overlong UTF-8', Buffer.from('{"model":"\xc1\xa5vil"}', 'latin1')],
    ['a control character in a model', '{"model":"mock\n"}'],
    ['gzip', Buffer.from([0x1f, 0x8b, 8, 0])],
  ])('that is %s is not readable', (_, body) => expect(scanText(body)).toEqual(unreadable()));

  it('may be nested as deeply as LiteLLM takes it, and no deeper', () => {
    const nested = (depth: number) =>
      `{"a":${'['.repeat(depth)}${']'.repeat(depth)},"model":"mock"}`;
    expect(scanText(nested(1000))).toBe('passes');
    expect(scanText(nested(2000))).toEqual(unreadable('nested'));
    const fallbacks = (depth: number) =>
      `{"model":"mock","fallbacks":${'['.repeat(depth)}"evil"${']'.repeat(depth)}}`;
    expect(scanText(fallbacks(20))).toEqual(denied('evil'));
    expect(scanText(fallbacks(900))).toEqual(unreadable('nested'));
  });

  it('keeps no more of it than a value that counts, which has a limit', () => {
    const long = 'x'.repeat(70_000);
    expect(scanText(`{"model":"${long}"}`)).toEqual(unreadable('too long'));
    expect(scanText(`{"${long}":"${long}","model":"mock"}`)).toBe('passes');
    const pieces = cutAt(Buffer.from(`{"${long}":1,"model":"${long}"}`), [1000, 68_000, 99_000]);
    expect(scan(pieces)).toEqual(unreadable('too long'));
  });

  it('may have its model behind 50 MB of text, in little time', () => {
    const mb = Buffer.alloc(1024 * 1024, 'word ');
    function* body(model: string) {
      yield Buffer.from('{"messages":[{"content":"');
      for (let at = 0; at < 50; at++) yield mb;
      yield Buffer.from(`"}],"model":"${model}"}`);
    }
    const began = performance.now();
    expect(scan(body('mock'))).toBe('passes');
    expect(scan(body('evil'))).toEqual(denied('evil'));
    expect(performance.now() - began).toBeLessThan(2000);
  });
});

/** A member of a body: its name, as JSON text with some escapes, and its value. */
const escaped = (text: string): fc.Arbitrary<string> =>
  fc
    .array(fc.boolean(), { minLength: text.length, maxLength: text.length })
    .map(
      (which) =>
        `"${[...text]
          .map((c, at) =>
            which[at]
              ? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
              : JSON.stringify(c).slice(1, -1),
          )
          .join('')}"`,
    );
const spaces = fc.constantFrom('', ' ', '\n', '\t \r\n');
const models = fc.constantFrom('mock', 'gpt-4o', 'evil', 'gpt-3', 'mock2');
const text = fc.oneof(
  fc.string(),
  fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', ':', 'model', 'x'), maxLength: 80 }),
  // Of which not each byte is looked at.
  fc.string({ unit: fc.constantFrom('"', '\\', 'x'.repeat(40), 'y'), maxLength: 12 }),
);
const other = fc
  .tuple(text, fc.jsonValue())
  .filter(([name]) => !['model', 'tools'].includes(name))
  .map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
const model = fc
  .tuple(escaped('model'), spaces, spaces, models.chain(escaped))
  .map(([name, before, after, value]) => `${name}${before}:${after}${value}`);
const bodies = fc
  .tuple(fc.array(fc.oneof(other, model), { maxLength: 8 }), spaces)
  .map(([members, space]) => `{${members.join(`${space},${space}`)}}`);

describe('a JSON body, however it is written and cut', () => {
  it('passes only if all its models may be used, as a parser reads them', () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(2000), { maxLength: 12 }), (body, places) => {
        const verdict = scan(cutAt(Buffer.from(body), places));
        const named: string[] = [];
        // Each, and not only the last: what a reviver is shown of a member that stands twice.
        const parsed = JSON.parse(body) as { model?: string };
        if (parsed.model !== undefined) named.push(parsed.model);
        const mayUse = mayUseModels(ALLOWED);
        if (verdict === 'passes') expect(named.filter((name) => !mayUse(name))).toEqual([]);
        if (verdict === 'passes') expect(named).toHaveLength(1);
        if (verdict === 'none') expect(named).toEqual([]);
        if (typeof verdict === 'object') expect(verdict).toHaveProperty('model');
      }),
      { numRuns: 2000 },
    );
  });

  it('is judged alike wherever it is cut', () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(2000), { maxLength: 40 }), (body, places) => {
        const bytes = Buffer.from(body);
        expect(scan(cutAt(bytes, places))).toEqual(scan([bytes]));
        expect(scan(cutAt(bytes, [...bytes.keys()]))).toEqual(scan([bytes]));
      }),
      { numRuns: 300 },
    );
  });

  it('of any bytes never passes where a parser of JSON fails, and never throws', () => {
    const bytes = fc.string({ unit: fc.constantFrom(...'{}[]",:\\ \n\'/model1ck'), maxLength: 60 });
    fc.assert(
      fc.property(bytes, (body) => {
        const verdict = scanText(body);
        if (verdict !== 'passes') return;
        // It is no parser: what it lets through and JSON does not take, LiteLLM does not take.
        try {
          expect(mayUseModels(ALLOWED)((JSON.parse(body) as { model: string }).model)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(SyntaxError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
