import { describe, expect, it } from 'vitest';
import { mayUseModels } from '../../src/keyring/model-globs.ts';
import { onlyModels } from '../../src/litellm/model-lists.ts';

const mayUse = mayUseModels(['mock', 'gpt-4o*']);
const filter = (answer: unknown): unknown => {
  const listed = onlyModels(JSON.stringify(answer), mayUse);
  return listed === undefined ? undefined : JSON.parse(listed);
};

describe('a list of models', () => {
  it.each([
    [
      'as OpenAI has it',
      {
        object: 'list',
        data: [{ id: 'mock', owned_by: 'x' }, { id: 'evil' }, { id: 'gpt-4o-mini' }],
      },
      { object: 'list', data: [{ id: 'mock', owned_by: 'x' }, { id: 'gpt-4o-mini' }] },
    ],
    [
      'as Anthropic has it',
      {
        data: [{ id: 'evil' }, { id: 'mock' }],
        first_id: 'evil',
        last_id: 'mock',
        has_more: false,
      },
      { data: [{ id: 'mock' }], first_id: 'mock', last_id: 'mock', has_more: false },
    ],
    [
      'of which nothing is left',
      { data: [{ id: 'evil' }], first_id: 'evil', last_id: 'evil' },
      { data: [], first_id: null, last_id: null },
    ],
    [
      'with what stands behind a name',
      {
        data: [
          { model_name: 'mock', model_info: { id: 'evil' } },
          { model_name: 'evil', model_info: { id: 'mock' } },
        ],
      },
      { data: [{ model_name: 'mock', model_info: { id: 'evil' } }] },
    ],
    [
      'of groups',
      { data: [{ model_group: 'mock' }, { model_group: 'evil', providers: ['mock'] }] },
      { data: [{ model_group: 'mock' }] },
    ],
    [
      "of Codex's",
      { models: [{ slug: 'mock' }, { slug: 'evil' }] },
      { models: [{ slug: 'mock' }] },
    ],
    [
      'with what is asked where one fails',
      { data: [{ id: 'mock', metadata: { a: 1, fallbacks: ['evil', 'gpt-4o', 1] } }] },
      { data: [{ id: 'mock', metadata: { a: 1, fallbacks: ['gpt-4o'] } }] },
    ],
    [
      'with entries that nobody knows',
      { data: ['mock', 'evil', null, 1, {}, { id: 1 }, []] },
      { data: ['mock'] },
    ],
  ])('%s', (_, answer, listed) => expect(filter(answer)).toEqual(listed));

  it.each([[[]], [{}], [null], ['mock'], [{ data: {} }], [{ data: 'mock' }]])(
    'is not known as %j',
    (answer) => expect(filter(answer)).toBeUndefined(),
  );

  it('is not known where it is no JSON', () =>
    expect(onlyModels('{"data":[', mayUse)).toBeUndefined());
});
