import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { HandoverView } from '../../src/handover/views.ts';
import { generateKey } from '../../src/keyring/key.ts';
import { get } from '../support/ask.ts';
import { failing, openStage } from '../support/handover-attempt.ts';
import { configOf, type HandoverStage } from '../support/handover-stage.ts';

const reloaded =
  (stage: HandoverStage, config: string): (() => Promise<HandoverView>) =>
  async () => {
    await stage.configure(config);
    return stage.handOver('reload', {});
  };

const bad: readonly (readonly [what: string, config: () => string, fault: object])[] = [
  [
    'makes LiteLLM die',
    () => configOf('next', 'dies'),
    {
      code: 'died',
      hint: expect.stringContaining('last words'),
      lastWords: expect.arrayContaining(['ValueError: the model cannot be set up']),
    },
  ],
  [
    'has model_list misspelt',
    () => configOf('next').replace('model_list', 'modle_list'),
    { code: 'no_models', hint: expect.stringContaining('model_list') },
  ],
  [
    'sets a master_key',
    () => `${configOf('next')}general_settings:\n  master_key: ${generateKey()}\n`,
    { code: 'refuses_key', hint: expect.stringContaining('config.yaml line 6 sets master_key') },
  ],
  [
    'makes LiteLLM listen elsewhere',
    () => configOf('next', 'listens-on 0'),
    { code: 'other_port', hint: expect.stringContaining('LAUNCHER_PORT_A') },
  ],
  [
    'lets LiteLLM take any key',
    () => configOf('next', 'any-key'),
    { code: 'accepts_any_key', hint: expect.stringContaining('custom_auth') },
  ],
  [
    'keeps LiteLLM from coming up',
    () => configOf('next', 'never-up'),
    { code: 'not_up', hint: expect.stringContaining('last words') },
  ],
];

describe.concurrent('a configuration that', () => {
  it.for(bad)('%s is rolled back, with the reason', async ([, config, fault], context) => {
    const isNeverUp = config().includes('never-up');
    const stage = await openStage(context.onTestFinished, {
      settings: isNeverUp ? { SIDECAR_HANDOVER_TIMEOUT: '7s' } : {},
    });
    const view = await failing(stage, reloaded(stage, config()));
    expect(view.fault).toMatchObject(fault);
    // Once the edit has settled.
    await vi.waitFor(async () => {
      expect(await stage.status()).toMatchObject({ config: 'refused', last: { id: view.id } });
    }, 5000);
  });

  it('is gone is rolled back', async ({ onTestFinished: finish }) => {
    const stage = await openStage(finish);
    const view = await failing(stage, async () => {
      await rm(join(stage.folder, 'config.yaml'));
      return stage.handOver('reload', {});
    });
    expect(view.fault).toMatchObject({
      code: 'config_unusable',
      hint: expect.stringContaining('SIDECAR_LITELLM_CONFIG'),
    });
  });

  it('makes LiteLLM die after the switch goes back', async ({ onTestFinished: finish }) => {
    const stage = await openStage(finish, { settings: { SIDECAR_PROBATION: '15s' } });
    const view = await failing(stage, reloaded(stage, configOf('next', 'dies-after 3000')), 1);
    expect(view.switchedAt).not.toBeNull();
    expect(view.fault).toMatchObject({
      code: 'died_after_switch',
      hint: expect.stringContaining('last words'),
    });
    const { text } = await get(stage);
    expect(text).toContain('first');
  });
});

describe.concurrent('around a handover', () => {
  it('somebody else has the port of the slot', async ({ onTestFinished: finish }) => {
    const stage = await openStage(finish);
    const other = createServer((_, response) => void response.writeHead(404).end('who?'));
    other.listen(stage.ports.b, '127.0.0.1');
    await once(other, 'listening');
    finish(() => void other.close());
    const view = await failing(stage, () => stage.handOver('rotate'));
    expect(['not_litellm', 'other_port']).toContain(view.fault?.code);
    expect(view.fault?.hint).toMatch(/what(?: else)? listens|nothing else listens/);
  });

  it('a first start that fails is mended by the next edit', async ({ onTestFinished: finish }) => {
    const stage = await openStage(finish, {
      config: configOf('first', 'dies'),
      settings: { SIDECAR_AUTO_RELOAD: 'true' },
    });
    await stage.launcher().line(/LiteLLM ended with status 1/);
    expect(await stage.status()).toMatchObject({ verified: false, handover: null });
    // Held until LiteLLM is there.
    const early = get(stage);
    await stage.configure(configOf('mended'));
    expect((await early).text).toContain('mended');
    await stage.rests();
  });
});
