import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keyTextFault } from '../../src/config/kinds.ts';
import {
  type ConfigPlaces,
  loadConfig,
  openDeclaredPlaces,
  openUpstreamKeyPlaces,
} from '../../src/config/load.ts';
import { formatMistakes } from '../../src/config/sources.ts';
import { generateKey } from '../../src/keyring/key.ts';

const KEY = 'sk-Gd83mq0ZtP5bYw7xVnK2hLrC';
const SECRETS = ['LITELLM_MASTER_KEY', 'SIDECAR_UPSTREAM_KEY', 'SIDECAR_ADMIN_TOKEN'];

let cwd = '';
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'key-text-'));
});
afterEach(() => {
  rmSync(cwd, { recursive: true });
});

const placesOf = (env: ConfigPlaces['env']): ConfigPlaces => ({
  env: { SIDECAR_UPSTREAM: 'http://litellm:4000', ...env },
  cwd,
});
const write = (name: string, content: string): void => writeFileSync(join(cwd, name), content);

/** The mistakes as the operator reads them; '' where there are none. */
function told(env: ConfigPlaces['env'] = {}): string {
  const loaded = loadConfig(placesOf(env));
  return loaded.ok ? '' : formatMistakes(loaded.mistakes);
}

/** What a running sidecar reads of a secret that it watches; undefined of the others. */
async function faultOf(name: string, env: ConfigPlaces['env'] = {}): Promise<string | undefined> {
  const open = {
    LITELLM_MASTER_KEY: openDeclaredPlaces,
    SIDECAR_UPSTREAM_KEY: openUpstreamKeyPlaces,
  };
  if (!(name in open)) return undefined;
  const reading = await open[name as keyof typeof open](placesOf(env)).read();
  return 'fault' in reading ? reading.fault : 'none';
}

/** Forms of a key that nobody presents, and a word of the reason for each. */
const FORMS: readonly (readonly [form: string, reason: string])[] = [
  [`"${KEY}"`, 'quote'],
  [`'${KEY}'`, 'quote'],
  [`\`${KEY}\``, 'quote'],
  [`"${KEY}`, 'quote'],
  [`${KEY}'`, 'quote'],
  [`\\"${KEY}\\"`, 'quote'],
  [`'"${KEY}"'`, 'quote'],
  ['""', 'quote'],
  [`LITELLM_MASTER_KEY=${KEY}`, 'a name'],
  [`export SIDECAR_UPSTREAM_KEY=${KEY}`, 'a name'],
  [`LITELLM_MASTER_KEY: ${KEY}`, 'a name'],
  [`- LITELLM_MASTER_KEY=${KEY}`, 'a name'],
  [`OTHER_NAME = plain-value-of-24-characters`, 'a name'],
  [`key=${KEY}`, 'a name'],
  [`Bearer ${KEY}`, 'Bearer'],
  [`$${'{LITELLM_MASTER_KEY}'}`, 'variable'],
  ['$(cat /run/secrets/key)', 'variable'],
  [`${KEY} ${KEY}`, 'space or a line break'],
  [`${KEY}\\n`, 'written out'],
];

describe.each(SECRETS)('%s', (name) => {
  it.each(FORMS)('in the environment is not %s', async (form, reason) => {
    expect(told({ [name]: form })).toContain(reason);
    expect(told({ [name]: form })).not.toContain(KEY);
    const fault = await faultOf(name, { [name]: form });
    if (fault !== undefined) expect(fault).toContain(reason);
    expect(`${fault}`).not.toContain(KEY);
  });

  it.each([...FORMS, [`${KEY}\n${KEY}`, 'space or a line break'] as const])(
    'in a key file is not %s',
    async (form, reason) => {
      write('k', `\uFEFF${form}\r\n`);
      const env = { [`${name}_FILE`]: './k' };
      expect(told(env)).toContain(reason);
      expect(told(env)).not.toContain(KEY);
      const fault = await faultOf(name, env);
      if (fault !== undefined) expect(fault).toContain(reason);
    },
  );

  it.each([
    [`${name}="${KEY}`, 'not closed'],
    [`${name}='${KEY}\r\nSIDECAR_PORT=4100\r\n`, 'not closed'],
    [`${name}="${KEY}\nOTHER="\n`, 'close that quote'],
    [`${name}="${KEY}"more\n`, 'not closed'],
    [`${name}="${KEY}""\n`, 'not closed'],
    [`OTHER="x\n${name}=${KEY}\nMORE="\n`, 'sets nothing'],
    [`${name}=${KEY}x\nOTHER="x\n${name}=${KEY}\nMORE="\n`, 'close that quote'],
    [`set ${name}=${KEY}\n`, 'sets nothing'],
    [`$env:${name}="${KEY}"\n`, 'sets nothing'],
    [`- ${name}=${KEY}\n`, 'sets nothing'],
  ])('in .env is not %j', async (content, reason) => {
    write('.env', content);
    expect(told()).toContain(reason);
    expect(told()).not.toContain(KEY);
    const fault = await faultOf(name);
    if (fault !== undefined) expect(fault).not.toBe('none');
  });

  it.each([`${KEY}`, ` ${KEY}\r`, `\uFEFF${KEY}`])('may be %j', (form) => {
    expect(told({ [name]: form })).toBe('');
    write('k', `${form}\n`);
    expect(told({ [`${name}_FILE`]: './k' })).toBe('');
    write('.env', `\uFEFFexport ${name}="${form.trim()}" # mine\r\n`);
    expect(told()).toBe('');
  });

  it('has a name, which nothing stands around in the environment', () => {
    for (const wrong of [`export ${name}`, `\uFEFF${name}`, `"${name}`, `${name} `]) {
      expect(told({ [wrong]: KEY })).toContain(`write ${name}, and nothing before or behind it`);
    }
  });
});

describe('quotes that docker leaves', () => {
  it.each([
    ['SIDECAR_STATE', '"./state"'],
    ['SIDECAR_ENV_FILE', "'./.env'"],
    ['LITELLM_MASTER_KEY_FILE', '"/run/secrets/key"'],
    ['SIDECAR_GRACE', '"24h"'],
    ['SIDECAR_PUBLISH', '"file:/run/key"'],
  ])('are told of %s', (name, value) => {
    expect(told({ [name]: value })).toMatch(
      new RegExp(`^${name}\\n.*\\n.*\\n  hint +quotes count there, as docker's --env-file`, 'm'),
    );
  });
});

it('warns of a comment that docker leaves behind a value', () => {
  const loaded = loadConfig(placesOf({ SIDECAR_STATE: './state # where keys are' }));
  expect(loaded.ok && loaded.warnings).toEqual([
    'SIDECAR_STATE (environment) has a # in it: what stands behind is part of the value',
  ]);
});

it('takes every key that can be made, and what generators of passwords make', () => {
  const base64 = fc.uint8Array({ minLength: 16, maxLength: 48 }).map((bytes) => Buffer.from(bytes));
  const word = fc.oneof(
    fc.constant(0).map(generateKey),
    base64.map((bytes) => bytes.toString('base64')),
    base64.map((bytes) => bytes.toString('base64url')),
    base64.map((bytes) => bytes.toString('hex')),
    fc.uuid(),
  );
  fc.assert(
    fc.property(word, (key) => {
      expect(keyTextFault(key)).toBeUndefined();
    }),
  );
});
