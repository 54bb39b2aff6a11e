import { describe, expect, it } from 'vitest';
import { attack, expectRefusal, sayLine } from '../support/attack.ts';
import { requestBytes } from '../support/raw-caller.ts';
import { createStages, type Stage } from '../support/stage.ts';

const stage = createStages();

const get = ({ sidecar }: Stage, target: string): string => requestBytes(sidecar, `GET ${target}`);

describe('a path trick', () => {
  it.each([
    ['//', ['//', '//v1/models', '/v1//models', '/v1/models//']],
    ['/./ and /../', ['/./v1/models', '/v1/../key/list', '/v1/models/..', '/..']],
    ['%2e%2e', ['/v1/%2e%2e/key/list', '/v1/.%2E/key/list', '/%2e/v1/models']],
    ['%5c', ['/v1/..%5ckey', '/v1%5Cmodels']],
    ['a backslash', ['/v1\\models', '/v1/..\\key']],
    ['%2f beside dots or another slash', ['/v1/x%2f..%2f..%2fkey/list', '/v1/%2fkey', '/%2Fv1']],
    ['a doubly encoded separator', ['/prompts%252ftest', '/v1/%252e%252e/key/list', '/v1%255c']],
    ['a doubly encoded route name', ['/%2570rompts/test', '/prompts/%2574est', '/%256bey/list']],
    ['absolute form', ['http://litellm:4000/v1/models', 'http://127.0.0.1/v1/models']],
    ['authority form', ['litellm:4000', 'litellm']],
    ['asterisk form', ['*']],
    ['#', ['/v1/models#x', '/v1/models?a#/../key', '/#/v1/models', '/v1/files/a%23b']],
    ['an encoded ?', ['/v1/files/a%3Fb', '/key/list%3f/v1/models']],
    [';params', ['/v1/models;x=y', '/v1;/models', '/v1/models%3Bx']],
    ['a control character', ['/v1/models%00', '/v1/models%0d%0aHost:x', '/v1/%7f', '/v1/%C2%80']],
    ['bad percent-encoding', ['/v1/%', '/v1/%zz', '/v1/%c0%ae', '/v1/%ff']],
    ['characters that no URL holds', ['/v1/{x}', '/v1/"x"', '/v1/<x>', '/v1/a|b', '/v1/a^b']],
  ])('with %s is refused', async (_, targets) => {
    const on = await stage({ script: sayLine });
    for (const target of targets) {
      // What Node cannot read at all ends the connection; what only means two things does not.
      const { refusals, rest, reached, answers } = await attack(on, get(on, target));
      const clean = refusals.length === 2;
      expect({ target, refusals, rest, reached }).toEqual({
        target,
        refusals: clean ? ['bad_target', undefined] : ['bad_request'],
        rest: '',
        reached: clean ? ['GET /v1/models?last'] : [],
      });
      expect(answers[0]?.status).toBe(400);
    }
  });

  it('never reaches a denied route, by case, trailing slash or encoding', async () => {
    const on = await stage({ script: sayLine });
    for (const target of [
      ...['/prompts/test', '/PROMPTS/TEST', '/Prompts/Test/', '/prompts/test?x=/v1/models'],
      ...['/prompts%2ftest', '/prompts%2Ftest%2F', '/%70rompts/test', '/prompts/%74%65%73%74'],
      ...['/guardrails/test_custom_code', '/mcp-rest/test/connection', '/SSO/debug/login'],
      ...['/utils/transform_request/'],
    ]) {
      await expectRefusal(on, get(on, target), 'route_denied', 'clean');
    }
  });

  it('under the root path is no way around a denied route either', async () => {
    const on = await stage({ script: sayLine, settings: { SIDECAR_ROOT_PATH: '/llm' } });
    for (const target of ['/llm/prompts/test', '/prompts/test', '/%6clm/prompts/test']) {
      await expectRefusal(on, get(on, target), 'route_denied', 'clean');
    }
  });
});

describe('an unusual path', () => {
  it.each([
    ['a slash in the name of a model', '/v1beta/models/meta%2Fllama-3:generateContent'],
    ['an encoded slash in a route', '/v1%2Fmodels'],
    ['encoded letters', '/v1/%6dodels'],
    ['UTF-8', '/v1/files/caf%C3%A9'],
    ['an encoded percent sign', '/v1/files/100%25'],
    ['a slash at its end', '/v1/models/'],
    ['a query full of tricks', '/v1/models?a=../..//&b=%2e%2e&c=http://x/&d=%zz&e=\\'],
    ['an empty query', '/v1/models?'],
  ])('with %s is sent on byte for byte', async (_, target) => {
    const on = await stage({ script: sayLine });
    const { answers, reached } = await attack(on, get(on, target));
    expect(reached).toEqual([`GET ${target}`, 'GET /v1/models?last']);
    expect(answers.map(({ body }) => body)).toEqual(reached);
  });

  it('keeps the root path that LiteLLM wants', async () => {
    const on = await stage({ script: sayLine, settings: { SIDECAR_ROOT_PATH: '/llm' } });
    const { reached } = await attack(on, get(on, '/llm/v1/models'));
    expect(reached[0]).toBe('GET /llm/v1/models');
    const line = on.sidecar.accessLines().find(({ status }) => status === 200);
    expect(line).toMatchObject({ route: '/v1/models' });
  });
});
