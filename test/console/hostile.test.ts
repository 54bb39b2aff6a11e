import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createFileStore } from '../../src/store/file-store.ts';
import { addClient, adminCall, clientOf } from '../support/admin.ts';
import { post } from '../support/ask.ts';
import { failAt } from '../support/disk-steps.ts';
import type { Peer } from '../support/fake-upstream.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { clientOf as keyringClient, keyringOf } from '../support/keyrings.ts';
import { freePort } from '../support/litellm.ts';
import { type Settings, type Sidecar, startSidecar } from '../support/sidecar.ts';
import { cellsOf, goTo, logIn, openBrowser, openTab, type Tab } from './browser.ts';

const SOON = { timeout: 20_000, interval: 50 };
const TOKEN = 'the-token-of-the-console-0123456789abcdef';
const HOUR_MS = 3_600_000;

/** LiteLLM calls each model as the request does, whatever it is. */
const answering = async (peer: Peer): Promise<void> => {
  const { model = '' } = JSON.parse((await peer.body).toString() || '{}') as { model?: string };
  const usage = { prompt_tokens: 20, completion_tokens: 5, total_tokens: 25 };
  const fields = ['content-type: application/json', `x-litellm-model-group: ${model}`];
  peer.answer('200 OK', JSON.stringify({ choices: [], usage }), ...fields);
};

describe('the console, where others mean it ill or nothing goes well', () => {
  let browser: Browser;
  const tabs: Tab[] = [];
  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    for (const tab of tabs.splice(0)) await tab.close();
  });

  const begin = async (settings: Settings = {}): Promise<Sidecar & { readonly origin: string }> => {
    const upstream = await startFakeUpstream(answering);
    onTestFinished(upstream.stop);
    const sidecar = await startSidecar(upstream.port, { SIDECAR_ADMIN_TOKEN: TOKEN, ...settings });
    onTestFinished(sidecar.stop);
    return { ...sidecar, origin: `http://127.0.0.1:${sidecar.opsPort}` };
  };
  const visit = async (origin: string, options: Parameters<typeof openTab>[2] = {}) => {
    const tab = await openTab(browser, origin, options);
    tabs.push(tab);
    return tab;
  };
  const ask = (sidecar: Sidecar, model: string, agent = 'a test') =>
    post(sidecar, JSON.stringify({ model }), { headers: { 'user-agent': agent } });

  test('a token that is wrong is told so, and guessing is slowed down', async () => {
    const { origin } = await begin();
    const tab = await visit(origin);
    tab.expectFailures();
    await tab.page.goto(origin);
    const alert = tab.page.getByRole('alert');
    for (let guess = 0; ; guess += 1) {
      await tab.page.getByLabel('Admin token').fill(`a-guess-that-is-wrong-number-${guess}`);
      const answered = tab.page.waitForResponse((answer) => answer.url().includes('/api/'));
      await tab.page.getByRole('button', { name: 'Open' }).click();
      const status = (await answered).status();
      await alert.waitFor();
      if (status === 429) break;
      expect(status).toBe(401);
      expect(guess).toBeLessThan(100);
    }
    await vi.waitFor(
      async () => expect(await alert.innerText()).toMatch(/too_many_failures/),
      SOON,
    );
    expect(await tab.page.getByRole('navigation').count()).toBe(0);
    expect(tab.faults()).toEqual([]);
  });

  test('without a token it says how to set one, and shows nothing', async () => {
    const { origin } = await begin({ SIDECAR_ADMIN_TOKEN: undefined });
    const tab = await visit(origin);
    await tab.page.goto(origin);
    expect(await tab.page.locator('body').innerText()).toMatch(/SIDECAR_ADMIN_TOKEN=/);
    expect(await tab.page.locator('input, script').count()).toBe(0);
    expect(tab.faults()).toEqual([]);
  });

  test('an empty console says what to ask first, of where clients find the sidecar', async () => {
    const { origin } = await begin({ SIDECAR_PUBLIC_URL: 'https://llm.example.com' });
    const tab = await visit(origin);
    await logIn(tab, origin, TOKEN);
    await tab.page.getByText('curl https://llm.example.com/v1/models -H').waitFor();
    await goTo(tab, 'usage');
    await tab.page.getByText('Nothing was counted').waitFor();
    await tab.page.getByText('curl https://llm.example.com/v1/models -H').waitFor();
    expect(tab.faults()).toEqual([]);
  });

  test('a token that was changed while the page was open is asked for anew', async () => {
    const port = String(await freePort());
    const first = await begin({ SIDECAR_OPS_PORT: port });
    const tab = await visit(first.origin);
    tab.expectFailures();
    await logIn(tab, first.origin, TOKEN);
    await first.drain();
    await begin({ SIDECAR_OPS_PORT: port, SIDECAR_ADMIN_TOKEN: `${TOKEN}-another` });
    await tab.page.getByText('The token is not taken any more').waitFor();
    expect(await tab.page.evaluate(() => sessionStorage.length)).toBe(0);
    await tab.page.getByLabel('Admin token').fill(`${TOKEN}-another`);
    await tab.page.getByRole('button', { name: 'Open' }).click();
    await tab.page.getByRole('heading', { level: 1, name: 'Now' }).waitFor();
    expect(tab.faults()).toEqual([]);
  });

  test('agents and models of strangers are text: no script of theirs runs', async () => {
    const sidecar = await begin({ SIDECAR_USAGE_KEEP: '400d' });
    const script = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>';
    const agent = `${script}${'x'.repeat(8 * 1024)}`;
    const model = '<script>window.hit=2</script>';
    await ask(sidecar, model, agent);
    await ask({ ...sidecar, key: 'sk-a-key-that-nobody-knows-0123456789' }, model, agent);
    await adminCall(sidecar, 'POST', '/api/clients/master/rotate', {
      body: { grace: '1h' },
      headers: { 'x-sidecar-actor': '<b onclick=1>me' },
    });
    const tab = await visit(sidecar.origin);
    await logIn(tab, sidecar.origin, TOKEN);
    await vi.waitFor(async () => {
      const [, row = []] = await cellsOf(tab, 'Requests that were refused last');
      expect(row.at(-1)).toContain('<img src=x onerror="window.hit=1">');
      const models = await cellsOf(tab, 'Models, 15 minutes');
      expect(models.map(([name]) => name)).toContain(model);
    }, SOON);
    for (const view of ['usage', 'keys', 'litellm', 'audit'] as const) await goTo(tab, view);
    await tab.page.goto(`${sidecar.origin}/#/keys`);
    // Its callers are shown without a press: it is retiring, and in use.
    await tab.page
      .getByText(/^<img src=x/)
      .first()
      .waitFor();
    expect(await tab.page.evaluate(() => (window as { hit?: number }).hit)).toBe(undefined);
    expect(await tab.page.locator('main script, main img').count()).toBe(0);
    expect(tab.faults()).toEqual([]);
  });

  test('a model that looks like a formula is none in the CSV', async () => {
    const sidecar = await begin({ SIDECAR_USAGE_KEEP: '400d' });
    const formula = '=HYPERLINK("http://192.0.2.1","look")';
    await ask(sidecar, formula);
    const tab = await visit(sidecar.origin);
    await logIn(tab, sidecar.origin, TOKEN, 'usage');
    await tab.page.getByLabel('Split by').selectOption('model');
    await tab.page.getByLabel('Usage by model').getByText(formula).waitFor();
    const saved = tab.page.waitForEvent('download');
    await tab.page.getByRole('button', { name: 'Save as CSV by model' }).click();
    const text = await readFile(await (await saved).path(), 'utf8');
    expect(text).toContain(`"'=HYPERLINK(""http://192.0.2.1"",""look"")",1,`);
    const figure = tab.page.locator('figure', { hasText: 'Tokens' });
    await figure.locator('summary').click();
    const other = tab.page.waitForEvent('download');
    await figure.getByRole('button', { name: 'Save as CSV' }).click();
    expect(await readFile(await (await other).path(), 'utf8')).toContain(`"'=HYPERLINK`);
  });

  test('a sidecar that is restarted comes back by itself, and its figures go on', async () => {
    const port = String(await freePort());
    const first = await begin({ SIDECAR_OPS_PORT: port });
    const tab = await visit(first.origin);
    tab.expectFailures();
    await logIn(tab, first.origin, TOKEN);
    await tab.page.evaluate(() => Object.assign(window, { sameAsBefore: true }));
    await first.drain();
    await tab.page.getByText('The sidecar does not answer').waitFor();
    const second = await begin({ SIDECAR_OPS_PORT: port });
    await tab.page.getByText('The sidecar does not answer').waitFor({ state: 'detached' });
    await ask(second, 'a-model-of-the-second');
    await tab.page.getByLabel('Models, 15 minutes').getByText('a-model-of-the-second').waitFor();
    const same = () => (window as { sameAsBefore?: boolean }).sameAsBefore;
    expect(await tab.page.evaluate(same)).toBe(true);
    expect(tab.faults()).toEqual([]);
  });

  const openRotation = async (tab: Tab, client = 'master') => {
    await tab.page.getByRole('button', { name: `Rotate ${client}`, exact: true }).click();
    const dialog = tab.page.getByRole('dialog');
    await dialog.waitFor();
    return {
      dialog,
      press: () => dialog.getByRole('button', { name: 'Rotate' }).click(),
      /** With it the key is gone. */
      async close() {
        await dialog.getByRole('button', { name: 'Close' }).click();
        // One that is closed has no role any more, and may stand there still.
        await tab.page.locator('dialog').waitFor({ state: 'detached' });
      },
    };
  };

  test('who presses Rotate while the sidecar is away makes one key in the end', async () => {
    const port = String(await freePort());
    const place = { SIDECAR_OPS_PORT: port };
    const first = await begin(place);
    const tab = await visit(first.origin);
    tab.expectFailures();
    await logIn(tab, first.origin, TOKEN, 'keys');
    const { dialog, press, close } = await openRotation(tab);
    await first.drain();
    await press();
    await dialog.getByText('Whether it was done is not known: press again').waitFor();
    const second = await begin(place);
    await press();
    await dialog.getByText('master-2 is the key of master now').waitFor();
    await close();
    expect((await clientOf(second)).generations.map(({ id }) => id)).toEqual([
      'master-2',
      'master-1',
    ]);
  });

  test('a rollback whose answer is lost is for the key that was shown, and wants a look', async () => {
    const sidecar = await begin();
    const rotate = () =>
      adminCall(sidecar, 'POST', '/api/clients/master/rotate', { body: { grace: '1h' } });
    await rotate();
    await rotate();
    const tab = await visit(sidecar.origin);
    tab.expectFailures();
    await logIn(tab, sidecar.origin, TOKEN, 'keys');
    await tab.page.getByRole('button', { name: 'Roll back master', exact: true }).click();
    const sent: unknown[] = [];
    await tab.page.route('**/rollback', async (route) => {
      sent.push(route.request().postDataJSON());
      await route.fetch();
      await route.abort();
    });
    const dialog = tab.page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Roll back', exact: true }).click();
    await dialog.getByText('look at what is shown before you press again').waitFor();
    expect(sent).toEqual([{ from: 'master-3' }]);
    await dialog.getByText('master has another key by now').waitFor();
    expect(await dialog.getByRole('button', { name: 'Roll back' }).isDisabled()).toBe(true);
  });

  test('who presses Rotate while the sidecar is draining has a key, or is told why not', async () => {
    const sidecar = await begin({ SIDECAR_DRAIN_DELAY: '4s' });
    const tab = await visit(sidecar.origin);
    tab.expectFailures();
    await logIn(tab, sidecar.origin, TOKEN);
    const drained = sidecar.drain();
    await tab.page.getByText('stopping').waitFor();
    await goTo(tab, 'keys');
    const { dialog, press, close } = await openRotation(tab);
    await press();
    await dialog.getByText('master-2 is the key of master now').waitFor();
    await close();
    await drained;
    await tab.page.getByText('The sidecar does not answer').waitFor();
    expect(tab.faults()).toEqual([]);
  });

  test('a full disk while somebody presses Rotate makes no key, and says so', async () => {
    const sidecar = await begin();
    const tab = await visit(sidecar.origin);
    tab.expectFailures();
    await logIn(tab, sidecar.origin, TOKEN, 'keys');
    const { dialog, press, close } = await openRotation(tab);
    const disk = failAt(sidecar.state, 'rename keyring.json', 'ENOSPC');
    await press();
    const alert = dialog.getByRole('alert');
    await alert.waitFor();
    expect(await alert.innerText()).toMatch(/store_unavailable/);
    expect((await clientOf(sidecar)).generations.map(({ id }) => id)).toEqual(['master-1']);
    disk.on = false;
    await press();
    await dialog.getByText('master-2 is the key of master now').waitFor();
    await close();
    expect(tab.faults()).toEqual([]);
  });

  test('two who rotate a client at once make one key, and are both told it', async () => {
    const sidecar = await begin();
    await addClient(sidecar, { name: 'ci' });
    const both = [await visit(sidecar.origin), await visit(sidecar.origin)];
    for (const tab of both) await logIn(tab, sidecar.origin, TOKEN, 'keys');
    const asked = await Promise.all(both.map((tab) => openRotation(tab, 'ci')));
    await Promise.all(asked.map(({ press }) => press()));
    const keys = await Promise.all(
      asked.map(({ dialog }) => dialog.locator('.key code').innerText()),
    );
    expect(new Set(keys).size).toBe(1);
    expect(keys[0]).toMatch(/^sk-/);
    expect((await clientOf(sidecar, 'ci')).generations.map(({ id }) => id)).toEqual([
      'ci-2',
      'ci-1',
    ]);
    // Once the dialog is closed, the page does not have it any more.
    for (const [at, { close }] of asked.entries()) {
      await close();
      const page = both[at]?.page;
      const left = await page?.evaluate(
        () => document.documentElement.outerHTML + JSON.stringify(sessionStorage),
      );
      expect(left).not.toContain(keys[0]?.slice(4));
    }
  });

  test('the clock of a browser that is an hour off changes no “ago”', async () => {
    const sidecar = await begin();
    await ask(sidecar, 'gpt-4o');
    const tab = await visit(sidecar.origin);
    await tab.page.clock.install({ time: Date.now() + HOUR_MS });
    await logIn(tab, sidecar.origin, TOKEN, 'keys');
    await tab.page.getByText(/The clock of this browser is (59 min|60 min|1 h) ahead/).waitFor();
    const facts = await tab.page.locator('.facts').first().innerText();
    expect(facts).toMatch(/last used \d+ s ago/);
  });

  test('a thousand clients and the longest name fit, on a phone too', async () => {
    const longest = `a${'-very-long-name'.repeat(2)}-1234567`;
    const names = ['master', longest, ...Array.from({ length: 999 }, (_, nth) => `client-${nth}`)];
    const state = await mkdtemp(join(tmpdir(), 'sidecar-'));
    const clients = names.map((name) => keyringClient(name, 1));
    await createFileStore({ folder: state }).save(keyringOf(clients), 0);
    const sidecar = await begin({ SIDECAR_USAGE_KEEP: '400d', SIDECAR_STATE: state });
    onTestFinished(() => rm(state, { recursive: true }));
    const tab = await visit(sidecar.origin, { viewport: { width: 360, height: 740 } });
    await logIn(tab, sidecar.origin, TOKEN, 'keys');
    await tab.page.getByText('1,001 clients').waitFor();
    await tab.page.getByLabel('Find a client').fill('very-long');
    await tab.page.getByRole('heading', { level: 2, name: longest }).waitFor();
    expect(await tab.page.locator('article').count()).toBe(1);
    for (const view of ['keys', 'now', 'usage', 'audit'] as const) {
      await goTo(tab, view);
      const width = await tab.page.evaluate(() => document.documentElement.scrollWidth);
      expect({ view, width }).toEqual({ view, width: 360 });
    }
    expect(tab.faults()).toEqual([]);
  });

  test('a page elsewhere neither frames the console nor asks its API', async () => {
    const { origin } = await begin();
    const elsewhere = createServer((_, response) => {
      response.setHeader('content-type', 'text/html');
      response.end(`<!doctype html><title>elsewhere</title><iframe src="${origin}/"></iframe>`);
    }).listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    onTestFinished(() => void elsewhere.close());
    const { port } = elsewhere.address() as AddressInfo;
    const tab = await visit(origin);
    await tab.page.goto(`http://127.0.0.1:${port}/`);
    await vi.waitFor(
      () => expect(tab.faults().join()).toMatch(/frame-ancestors|refused to (?:connect|display)/i),
      SOON,
    );
    const asked = await tab.page.evaluate(
      ([url, token]) =>
        fetch(`${url}/api/status`, { headers: { authorization: `Bearer ${token}` } }).then(
          (answer) => answer.status,
          () => 'nothing',
        ),
      [origin, TOKEN] as const,
    );
    expect(asked).toBe('nothing');
  });
});
