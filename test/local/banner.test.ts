import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import {
  type BannerFacts,
  chooseModel,
  keyIn,
  renderBanner,
  shellQuote,
} from '../../src/local/banner.ts';
import { Secret } from '../../src/secret.ts';

const KEY = new Secret('sk-secret-secret');
const FILE = '/here/state/keys/master';
const FACTS: BannerFacts = {
  traffic: 'http://127.0.0.1:4000',
  ops: 'http://127.0.0.1:4001',
  key: { kind: 'made', where: FILE, file: FILE, key: KEY },
  models: ['other', 'mock'],
  logs: ['/here/.local/sidecar.log', '/here/.local/litellm.log'],
};
const plain = (text: string): string => text;

test('one screen says where it listens, how to read the key, and what to paste', () => {
  expect(renderBanner(FACTS, '/here', plain)).toBe(`
litellm-sidecar is up

  traffic  http://127.0.0.1:4000
  metrics  http://127.0.0.1:4001/metrics
  console  http://127.0.0.1:4001/
  key      cat state/keys/master
  logs     .local/sidecar.log, .local/litellm.log

try it

  curl http://127.0.0.1:4000/v1/chat/completions \\
    -H "Authorization: Bearer $(cat state/keys/master)" \\
    -H 'content-type: application/json' \\
    -d '{"model":"mock","messages":[{"role":"user","content":"hello"}]}'

Ctrl-C ends it once what is in hand is finished, a second one at once
`);
});

test('without a model it says where to add one', () => {
  const banner = renderBanner({ ...FACTS, models: [] }, '/here', plain);
  expect(banner).toContain('add one to config.yaml');
  expect(banner).toContain('"model":"MODEL"');
});

test.each(['plain', "it's", '$(rm -rf x)', 'a b\n`c`', ''])(
  'the shell reads %j as one word',
  (word) => {
    const printed = execFileSync('sh', ['-c', `printf %s ${shellQuote(word)}`], {
      encoding: 'utf8',
    });
    expect(printed).toBe(word);
  },
);

test('the mock model is preferred, a pattern is never taken', () => {
  expect(chooseModel(['gpt', 'mock'])).toBe('mock');
  expect(chooseModel(['openai/*', 'gpt'])).toBe('gpt');
  expect(chooseModel(['openai/*'])).toBeUndefined();
});

test('the banner never holds a key', () => {
  const file = '/here/my state/keys/master';
  const made = keyIn({ kind: 'made', where: file, file, key: KEY }, '/here');
  expect(made.shell).toBe("$(cat 'my state/keys/master')");
  const declared = keyIn(
    { kind: 'declared', where: 'LITELLM_MASTER_KEY in .env', key: KEY },
    '/here',
  );
  expect(declared).toEqual({
    words: 'yours (LITELLM_MASTER_KEY in .env)',
    shell: '$LITELLM_MASTER_KEY',
  });
});
