import { format, inspect } from 'node:util';
import { expect, it } from 'vitest';
import { Secret } from '../src/secret.ts';

it.each<[string, (secret: Secret) => string]>([
  ['joined', (secret) => `${secret}${[secret].join()}`],
  ['serialised', (secret) => JSON.stringify({ secret })],
  ['inspected', (secret) => inspect({ deep: [secret] }, { depth: 9, showHidden: true })],
  ['formatted', (secret) => format('%s %o %j', secret, secret, secret)],
  ['thrown', (secret) => inspect(new Error('broken', { cause: secret }))],
  ['copied', (secret) => JSON.stringify({ ...secret })],
])('a secret that is %s does not show', (_, print) => {
  expect(print(new Secret('sk-hidden'))).not.toContain('sk-hidden');
  expect(new Secret('sk-hidden').reveal()).toBe('sk-hidden');
});
