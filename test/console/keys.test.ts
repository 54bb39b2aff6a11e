import type { Browser, Locator, Route } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { AuditLine } from '../../src/keyring/audit.ts';
import { recordKey } from '../support/key-ledger.ts';
import { cellsOf, goTo, openBrowser, type Tab } from './browser.ts';
import { type SmallStage, smallStage } from './small-stage.ts';

const SOON = { timeout: 20_000, interval: 100 };

let browser: Browser;
let stage: SmallStage;

beforeAll(async () => {
  browser = await openBrowser();
  stage = await smallStage(browser);
});
afterAll(async () => {
  await stage?.clear();
  await browser?.close();
});

const openKeys = async (): Promise<Tab> => {
  const tab = await stage.open('keys');
  onTestFinished(() => expect(tab.faults()).toEqual([]));
  return tab;
};
const cardOf = ({ page }: Tab, client: string): Locator =>
  page.getByRole('article', { name: new RegExp(`^${client} `) });
const press = (tab: Tab, client: string, verb: string) =>
  cardOf(tab, client)
    .getByRole('button', { name: `${verb} ${client}`, exact: true })
    .click();
const dialogOf = ({ page }: Tab): Locator => page.getByRole('dialog');
const confirm = (tab: Tab, word: string) =>
  dialogOf(tab).getByRole('button', { name: word, exact: true }).click();
/** Closes what shows what was done; then nothing of it is in the page any more. */
const close = async (tab: Tab): Promise<void> => {
  await dialogOf(tab).getByRole('button', { name: 'Close', exact: true }).click();
  await tab.page.locator('dialog').waitFor({ state: 'detached' });
};
/** The new key, which the page has for as long as its dialog is open. */
const takeKey = async (tab: Tab): Promise<string> => {
  const key = await dialogOf(tab).locator('.key code').innerText();
  recordKey(key);
  await close(tab);
  expect((await tab.page.content()).includes(key)).toBe(false);
  return key;
};
const keptKeys = async (client: string): Promise<string[]> =>
  (await stage.clientNow(client)).generations.map(({ id, state }) => `${id} ${state}`);

describe('keys, from the page', () => {
  test('a key that ended and comes back is told of, with who has it', async () => {
    const key = await stage.addClient('thief');
    await stage.api('/generations/thief-1/revoke', { force: true });
    expect(await stage.ask(key, 'somebody-else/1')).toBe(401);
    const tab = await openKeys();
    const alarm = tab.page.getByRole('region', { name: /came back$/ });
    await alarm.getByText('somebody-else/1').waitFor();
    expect(await alarm.innerText()).toContain('thief-1');
  });

  test('a key in use is ended only by who has read whom that breaks', async () => {
    const key = await stage.addClient('staging');
    expect(await stage.ask(key, 'worker/7')).toBe(200);
    const tab = await openKeys();
    await cardOf(tab, 'staging').getByRole('button', { name: 'Revoke staging-1' }).click();
    const revoke = dialogOf(tab).getByRole('button', { name: 'Revoke', exact: true });
    await dialogOf(tab).getByText('worker/7').waitFor();
    await dialogOf(tab).getByText('staging has none then, until it is rotated').waitFor();
    expect(await revoke.isDisabled()).toBe(true);
    await dialogOf(tab).getByLabel('Do it though staging-1 is in use').check();
    await revoke.click();
    await dialogOf(tab).getByText('staging-1 is revoked').waitFor();
    await close(tab);
    expect(await keptKeys('staging')).toEqual(['staging-1 revoked']);
    expect(await stage.ask(key)).toBe(401);
  });

  test('a leaked key is revoked, and what it has under way is cut', async () => {
    const key = await stage.addClient('leaky');
    const stream = await stage.openStream(key);
    const tab = await openKeys();
    await press(tab, 'leaky', 'Rotate');
    await dialogOf(tab).getByLabel('The old key has leaked').check();
    await dialogOf(tab).getByText('1 request under way, streams included, is cut.').waitFor();
    await confirm(tab, 'Rotate, revoke and cut');
    await dialogOf(tab).getByText('1 request under way cut.').waitFor();
    await takeKey(tab);
    expect(await stream.ended).toBe('cut');
    expect(await keptKeys('leaky')).toEqual(['leaky-2 active', 'leaky-1 revoked']);
  });

  test('a mistake in a form is told of, and a change leaves alone what nobody changed', async () => {
    const tab = await openKeys();
    await tab.page.getByRole('button', { name: 'Add a client' }).click();
    await dialogOf(tab).getByLabel('Name').fill('web');
    await dialogOf(tab).getByLabel('Requests a minute').fill('lots');
    tab.expectFailures();
    await confirm(tab, 'Add it');
    await dialogOf(tab).getByRole('alert').getByText('limits.rpm: must be').waitFor();
    await dialogOf(tab).getByLabel('Requests a minute').fill('1.5k');
    await dialogOf(tab).getByLabel('May call from').fill('127.0.0.0/8, ::1');
    await confirm(tab, 'Add it');
    await takeKey(tab);
    await press(tab, 'web', 'Change');
    // Somebody else changes something else meanwhile.
    await stage.api('/clients/web', { models: ['gpt-4o*'] }, 'PATCH');
    await dialogOf(tab).getByLabel('Requests a minute').fill('');
    await dialogOf(tab).getByLabel('Requests in flight').fill('3');
    await confirm(tab, 'Change it');
    await dialogOf(tab).getByText('web is changed.').waitFor();
    await close(tab);
    await cardOf(tab, 'web').getByText('0 of 3 in flight').waitFor();
    expect(await stage.clientNow('web')).toMatchObject({
      ...{ allowFrom: ['127.0.0.0/8', '::1/128'], models: ['gpt-4o*'] },
      limits: { rpm: null, parallel: 3 },
    });
  });

  test('an answer that is lost is shown at the next press, which makes no second key', async () => {
    await stage.addClient('lossy');
    const tab = await openKeys();
    tab.expectFailures();
    const rotation = '**/api/clients/lossy/rotate';
    await tab.page.route(rotation, async (route) => {
      await route.fetch();
      await route.abort('connectionreset');
    });
    await press(tab, 'lossy', 'Rotate');
    await confirm(tab, 'Rotate');
    await dialogOf(tab).getByText('Whether it was done is not known').waitFor();
    expect(await keptKeys('lossy')).toEqual(['lossy-2 active', 'lossy-1 retiring']);
    await tab.page.unroute(rotation);
    await confirm(tab, 'Rotate');
    await dialogOf(tab).getByText('This was done before: lossy-2 was made then').waitFor();
    expect(await stage.ask(await takeKey(tab))).toBe(200);
    expect(await keptKeys('lossy')).toEqual(['lossy-2 active', 'lossy-1 retiring']);
  });

  test('who is late to rotate is told, and makes no second key by mistake', async () => {
    await stage.addClient('shared');
    const tab = await openKeys();
    await press(tab, 'shared', 'Rotate');
    await stage.api('/clients/shared/rotate', {});
    await dialogOf(tab).getByText('shared-2 was made since this was opened').waitFor();
    const button = dialogOf(tab).getByRole('button', { name: 'Rotate', exact: true });
    expect(await button.isDisabled()).toBe(true);
    expect(await keptKeys('shared')).toEqual(['shared-2 active', 'shared-1 retiring']);
  });
});

test('the audit shows what was done, looks through it, and says whether the chain holds', async () => {
  const tab = await openKeys();
  await goTo(tab, 'audit');
  await tab.page.getByText('The chain holds').waitFor();
  const { lines, count } = await stage.api<{ lines: AuditLine[]; count: number }>('/audit');
  const [head, ...rows] = await cellsOf(tab, 'The audit, the latest first');
  expect(head).toEqual(['line', 'when', 'by', 'what', 'of what', 'more']);
  expect(rows.map(([seq, , by, what]) => [Number(seq), by, what])).toEqual(
    lines.toReversed().map(({ seq, by, action }) => [seq, by, action]),
  );
  expect(rows).toHaveLength(count);
  await tab.page.getByLabel('Look for').fill('leaky');
  await tab.page.getByLabel('What was done').selectOption('rotated');
  const found = lines.filter(({ client, action }) => client === 'leaky' && action === 'rotated');
  await vi.waitFor(async () => {
    const [, ...left] = await cellsOf(tab, 'The audit, the latest first');
    expect(left.map(([seq]) => Number(seq))).toEqual(found.map(({ seq }) => seq).reverse());
  }, SOON);
  expect(found.length).toBeGreaterThan(1);
  // What is done meanwhile is there without a press.
  await stage.api('/clients/leaky/rotate', {});
  await vi.waitFor(async () => {
    const [, ...left] = await cellsOf(tab, 'The audit, the latest first');
    expect(left).toHaveLength(found.length + 1);
  }, SOON);
});

test('what is under way is not closed by a press of Escape, or its key would be lost', async () => {
  await stage.addClient('hasty');
  const tab = await openKeys();
  const asked: Route[] = [];
  await tab.page.route('**/api/clients/hasty/rotate', (route) => void asked.push(route));
  await press(tab, 'hasty', 'Rotate');
  await confirm(tab, 'Rotate');
  await vi.waitFor(() => expect(asked).toHaveLength(1), SOON);
  await tab.page.keyboard.press('Escape');
  expect(await dialogOf(tab).getByRole('button', { name: 'Cancel' }).isDisabled()).toBe(true);
  await asked[0]?.continue();
  expect(await stage.ask(await takeKey(tab))).toBe(200);
});

test('what cannot be done is not offered, and it is said why', async () => {
  const poor = await smallStage(browser, { SIDECAR_STATE: 'none' });
  onTestFinished(() => poor.clear());
  const tab = await poor.open('keys');
  const { page } = tab;
  await cardOf(tab, 'master').getByText('This sidecar keeps nothing').waitFor();
  expect(await page.getByRole('button', { name: /Rotate|Revoke|Add a client/ }).count()).toBe(0);
  await goTo(tab, 'audit');
  await page.getByText('This sidecar keeps nothing: its log has what was done.').waitFor();
  await goTo(tab, 'litellm');
  await page.getByText('LiteLLM is run by somebody else').waitFor();
  await page.getByText('Two slots and their launcher are needed').waitFor();
  expect(await page.getByRole('button', { name: /Reload|Rotate|Dry run/ }).count()).toBe(0);
  expect(tab.faults()).toEqual([]);
});

test.each(['a clipboard', 'none, as on an origin that is not secure'])(
  'a key is copied where the browser has %s',
  async (what) => {
    const name = what.startsWith('a') ? 'copied' : 'copied-too';
    await stage.addClient(name);
    const tab = await openKeys();
    const { page } = tab;
    if (name === 'copied') await page.context().grantPermissions(['clipboard-write']);
    else await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: null }));
    await press(tab, name, 'Rotate');
    await confirm(tab, 'Rotate');
    await dialogOf(tab).getByRole('button', { name: 'Copy the key' }).click();
    await dialogOf(tab).getByText('Copied', { exact: true }).waitFor();
    const key = await takeKey(tab);
    const field = page.getByLabel('Find a client');
    await field.focus();
    await page.keyboard.press('Control+V');
    expect((await field.inputValue()) === key).toBe(true);
  },
);

test('a client of the clients file is shown, and changed in the file alone', async () => {
  const keys = ['b', 'c'].map((digit) => `sha256:${digit.repeat(64)}`);
  const text = JSON.stringify({ clients: { web: { keys, models: ['gpt-4o*'] } } });
  const files = { 'clients.yaml': text };
  const filed = await smallStage(browser, { SIDECAR_CLIENTS: './clients.yaml' }, files);
  onTestFinished(() => filed.clear());
  const tab = await filed.open('keys');
  const card = cardOf(tab, 'web');
  await card.getByText('The clients file rules it').waitFor();
  await card.getByText('models gpt-4o*').waitFor();
  expect(await card.locator('.key-head').count()).toBe(2);
  expect(await card.getByRole('button').count()).toBe(0);
  expect(await cardOf(tab, 'master').getByRole('button', { name: 'Rotate' }).count()).toBe(1);
  expect(tab.faults()).toEqual([]);
});

test('a page that is older than its sidecar says so, and loads the new one at a press', async () => {
  const tab = await openKeys();
  const { page } = tab;
  await page.evaluate(() => Object.assign(window, { isOld: true }));
  await page.route('**/api/status', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), version: '99.0.0' } });
  });
  await page.getByText('The sidecar is version 99.0.0 by now.').waitFor();
  await page.unroute('**/api/status');
  await page.getByRole('button', { name: 'Load its page' }).click();
  await page.waitForFunction(() => !('isOld' in window));
  await page.getByRole('heading', { name: 'master' }).waitFor();
});

test('a server that hangs is one that is lost', async () => {
  const tab = await openKeys();
  tab.expectFailures();
  await tab.page.route('**/api/status', () => undefined);
  await tab.page.getByText('The sidecar does not answer').waitFor({ timeout: 30_000 });
  await tab.page.unroute('**/api/status');
  await tab.page.getByText('The sidecar does not answer').waitFor({ state: 'detached' });
});

test('a token is kept for a reload of the tab alone, and forgotten at a press', async () => {
  const { page } = await stage.open('audit');
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'Audit' }).waitFor();
  expect(await page.evaluate(() => [document.cookie, localStorage.length])).toEqual(['', 0]);
  await page.getByRole('button', { name: 'Forget the token' }).click();
  await page.getByLabel('Admin token').waitFor();
  await page.reload();
  await page.getByLabel('Admin token').waitFor();
});
