import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { masterKeyLine } from '../../src/litellm/config-hints.ts';
import { readReport } from '../../src/litellm/report.ts';
import { askReadiness, type Verification, verifyLitellm } from '../../src/litellm/verify.ts';
import { Secret } from '../../src/secret.ts';
import { createLitellm, findLitellm, type Litellm } from '../support/litellm.ts';

const MODELS = [
  {
    model_name: 'mock',
    litellm_params: { model: 'openai/gpt-4o', api_key: 'none', mock_response: 'hi' },
  },
];

let folder: string;
const running: Litellm[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'verify-'));
});
afterAll(async () => {
  for (const litellm of running) await litellm.stop();
  await rm(folder, { recursive: true, force: true });
});

async function start(name: string, config: object, env: Record<string, string> = {}) {
  const key = generateKey();
  const home = join(folder, name);
  const litellm = await createLitellm({ folder: home, masterKey: key, config, env });
  running.push(litellm);
  await litellm.start();
  const origin = new URL(litellm.url);
  const verify = (more: Partial<Verification> = {}) =>
    verifyLitellm({ origin, rootPath: '', key: new Secret(key), keyHeader: undefined, ...more });
  return { litellm, key, home, origin, verify };
}

type Started = Awaited<ReturnType<typeof start>>;

/** What the launcher writes of it. */
async function reportOf({ litellm, key }: Started) {
  await writeFile(join(folder, 'a.log'), `slot-id 7d1c\ntry 1\n${litellm.log()}`);
  return await readReport(folder, 'a', new Secret(key));
}

describe('a LiteLLM as it should be', () => {
  let good: Started;
  beforeAll(async () => {
    good = await start('good', { model_list: MODELS });
  });

  it('lists its models and refuses a key that was made up', async () => {
    expect(await good.verify()).toEqual({ kind: 'good', models: ['mock'] });
  });

  it('does not take another key', async () => {
    const verdict = await good.verify({ key: new Secret(generateKey()) });
    expect(verdict).toEqual({ kind: 'refuses_key', status: 400 });
  });

  it('is none below a path that it does not have', async () => {
    expect(await good.verify({ rootPath: '/llm' })).toEqual({ kind: 'not_litellm', status: 404 });
  });

  it('says that it has no database', async () => {
    expect(await askReadiness({ origin: good.origin, rootPath: '' })).toEqual({ database: false });
  });

  it('says on which port it listens, and not its key', async () => {
    const report = await reportOf(good);
    expect(report?.port).toBe(Number(good.origin.port));
    expect(report?.endedWith).toBeUndefined();
    expect(report?.lines.length).toBeGreaterThan(0);
    expect(JSON.stringify(report)).not.toContain(good.key);
    expect(report?.lines.filter((line) => /[█╗]|Feedback|Thank you/.test(line))).toEqual([]);
  });
});

it('one with a header of its own for keys is asked in that', async () => {
  const general_settings = { litellm_key_header_name: 'X-My-Key' };
  const { verify } = await start('header', { model_list: MODELS, general_settings });
  const good = { kind: 'good', models: ['mock'] };
  expect(await verify({ keyHeader: 'x-my-key' })).toEqual(good);
  // Since 1.108 that header is read besides the usual ones.
  expect([{ kind: 'refuses_key', status: 401 }, good]).toContainEqual(await verify());
});

it('one whose model_list is misspelt lists nothing', async () => {
  const { verify } = await start('misspelt', { model_lst: MODELS });
  expect(await verify()).toEqual({ kind: 'no_models' });
});

it('one with a master key in its configuration does not take that of its slot', async () => {
  const general_settings = { master_key: generateKey() };
  const { verify, home } = await start('own', { model_list: MODELS, general_settings });
  expect(await verify()).toEqual({ kind: 'refuses_key', status: 400 });
  expect(await masterKeyLine(home)).toBe(1);
});

it('one whose configuration sets the variable takes the key of its slot all the same', async () => {
  const { verify, home } = await start('env', {
    model_list: MODELS,
    general_settings: { master_key: 'os.environ/LITELLM_MASTER_KEY' },
    environment_variables: { LITELLM_MASTER_KEY: generateKey() },
  });
  expect((await verify()).kind).toBe('good');
  expect(await masterKeyLine(home)).toBeUndefined();
});

it('one without a master key, where that is permitted, takes any', async () => {
  const general_settings = { master_key: 'os.environ/NOBODY_SET_THIS' };
  const env = { LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY: 'true' };
  const { verify } = await start('any', { model_list: MODELS, general_settings }, env);
  expect(await verify()).toEqual({ kind: 'accepts_any_key' });
});

it('one that finds a mistake in the YAML ends, and says where it is', async () => {
  const config = join(folder, 'config.yaml');
  await writeFile(config, 'model_list:\n  - model_name: {a: b\n  c: d\n');
  const env = {
    ...{ PATH: process.env['PATH'] ?? '', HOME: folder, LITELLM_LOCAL_MODEL_COST_MAP: 'True' },
    LITELLM_MASTER_KEY: generateKey(),
  };
  const child: ChildProcess = spawn(findLitellm(), ['--config', config], { env });
  let said = '';
  const listen = (text: string): void => {
    said += text;
  };
  child.stdout?.setEncoding('utf8').on('data', listen);
  child.stderr?.setEncoding('utf8').on('data', listen);
  const [status] = await once(child, 'close');
  await writeFile(join(folder, 'b.log'), `slot-id 7d1c\ntry 2\n${said}ended ${status}\n`);
  const report = await readReport(folder, 'b');
  expect(report).toMatchObject({ attempt: 2, endedWith: 1, port: undefined });
  const end = report?.lines.slice(-4).join('\n');
  expect(end).toMatch(/^yaml\.parser\.ParserError: while parsing a flow mapping\n/);
  expect(end).toContain(`in "${config}", line 3, column 4`);
  expect(report?.lines[0]).toBe('Traceback (most recent call last):');
});
