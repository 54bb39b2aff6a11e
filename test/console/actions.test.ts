import type { Browser, Locator } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { UpstreamView } from '../../src/handover/views.ts';
import type { AuditLine } from '../../src/keyring/audit.ts';
import type { ClientView } from '../../src/rotation/admin.ts';
import { recordKey } from '../support/key-ledger.ts';
import { cellsOf, goTo, logIn, openBrowser, openTab, type Tab } from './browser.ts';
import { CLIENTS, type ConsoleStage, consoleStage } from './stage.ts';

const SOON = { timeout: 30_000, interval: 100 };
/** LiteLLM takes a while to start, and two of them at once on a small machine a longer one. */
const LATER = { timeout: 150_000, interval: 250 };

describe('what is done in the console, while three clients use a real LiteLLM', () => {
  let stage: ConsoleStage;
  let browser: Browser;
  let tab: Tab;

  beforeAll(async () => {
    stage = await consoleStage();
    browser = await openBrowser();
    stage.startTraffic();
    tab = await openTab(browser, stage.origin);
    await logIn(tab, stage.origin, stage.token, 'keys');
  });
  afterAll(async () => {
    await tab?.close();
    await browser?.close();
    await stage?.clear();
  });

  const clientOf = (name: string) => stage.api<ClientView>(`/api/clients/${name}`);
  const card = (name: string): Locator =>
    tab.page.locator(`article[aria-labelledby=client-${name}]`);
  /** Presses a button of the page, and gives the dialog that opens. */
  const open = async (button: string): Promise<Locator> => {
    await tab.page.getByRole('button', { name: button, exact: true }).click();
    const dialog = tab.page.getByRole('dialog');
    await dialog.waitFor();
    return dialog;
  };
  const press = (dialog: Locator, button: string) =>
    dialog.getByRole('button', { name: button, exact: true }).click();
  const close = async (dialog: Locator): Promise<void> => {
    await press(dialog, 'Close');
    await tab.page.locator('dialog').waitFor({ state: 'detached' });
  };
  /** The key that a dialog shows, which is looked for in the end in whatever was written. */
  const keyIn = async (dialog: Locator): Promise<string> => {
    const key = await dialog.locator('.key code').innerText();
    recordKey(key);
    return key;
  };
  /** The keys of a client with their states, as the page has them. */
  const statesIn = async (name: string): Promise<string[]> =>
    (await card(name).locator('.key-head').allInnerTexts()).map((text) =>
      text.split(/\s+/).slice(0, 2).join(' '),
    );
  const statesOf = async (name: string): Promise<string[]> =>
    (await clientOf(name)).generations.map(({ id, state }) => `${id} ${state}`);
  /** What the page shows equals the API, and that is this. */
  const shows = (name: string, states: readonly string[]) =>
    vi.waitFor(async () => {
      expect(await statesIn(name)).toEqual(states);
      expect(await statesOf(name)).toEqual(states);
    }, SOON);

  test('Keys has a card for each client, with what the API says of its keys', async () => {
    for (const name of ['master', ...CLIENTS]) await shows(name, [`${name}-1 active`]);
    await vi.waitFor(async () => {
      const { generations } = await clientOf('web');
      expect(generations[0]?.firstUsedAt).not.toBe(null);
      const facts = await card('web').locator('.facts').innerText();
      expect(facts).toMatch(/first used \d+ s ago · last used \d+ s ago · \d+ requests?/);
    }, SOON);
  });

  test('a rotation is started, watched to its end, and the old key is retired', async () => {
    const dialog = await open('Rotate web');
    // Who would have to move stands there before anything happens.
    await dialog.getByText('web-worker/1.3').waitFor();
    // Longer than the page takes to look again, so that it sees the deadline.
    await dialog.getByLabel('Grace').fill('12s');
    await press(dialog, 'Rotate');
    await dialog.getByText('web-2 is the key of web now').waitFor();
    const key = await keyIn(dialog);
    expect(await stage.cliText('key', 'show', 'web')).toBe(`${key}\n`);
    await close(dialog);
    await shows('web', ['web-2 active', 'web-1 retiring']);
    await card('web').getByText('web-worker/1.3').waitFor();
    const old = stage.keyOf('web');
    stage.giveKey('web', key);
    await card('web')
      .getByText(/good until \d{4}/)
      .waitFor();
    await shows('web', ['web-2 active', 'web-1 retired']);
    // What it opens now is nothing, and that somebody tried is the first thing that the view says.
    const answer = await fetch(`${stage.url}/v1/models`, {
      headers: { authorization: `Bearer ${old}`, 'user-agent': 'a-thief/1.0' },
    });
    expect(answer.status).toBe(401);
    const alarm = tab.page.getByRole('region', { name: /1 ended key came back/ });
    await alarm.getByText('a-thief/1.0').waitFor();
  });

  test('a rotation is rolled back', async () => {
    const rotation = await open('Rotate staging');
    await press(rotation, 'Rotate');
    await rotation.getByText('staging-2 is the key of staging now').waitFor();
    await keyIn(rotation);
    await close(rotation);
    await shows('staging', ['staging-2 active', 'staging-1 retiring']);
    const back = await open('Roll back staging');
    await press(back, 'Roll back');
    await back.getByText('staging-1 is the key of staging again').waitFor();
    await close(back);
    await vi.waitFor(async () => {
      expect(await statesIn('staging')).toEqual(await statesOf('staging'));
      expect(await statesIn('staging')).toContain('staging-1 active');
      expect(await statesIn('staging')).not.toContain('staging-2 active');
    }, SOON);
  });

  test('a client is added, limited, disabled, enabled and removed', async () => {
    const models = (key: string) =>
      fetch(`${stage.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
    const adding = await open('Add a client');
    await adding.getByLabel('Name').fill('short-lived');
    await press(adding, 'Add it');
    const key = await keyIn(adding);
    await close(adding);
    expect((await models(key)).status).toBe(200);
    await shows('short-lived', ['short-lived-1 active']);

    const changing = await open('Change short-lived');
    await changing.getByLabel('Requests a minute').fill('60');
    await press(changing, 'Change it');
    await changing.getByText('short-lived is changed').waitFor();
    await close(changing);
    expect((await clientOf('short-lived')).limits).toMatchObject({ rpm: 60 });
    await card('short-lived').getByText('of 60 requests a minute').waitFor();

    for (const [verb, status] of [
      ['Disable', 401],
      ['Enable', 200],
    ] as const) {
      const dialog = await open(`${verb} short-lived`);
      // It was used a moment ago: who breaks stands there, and is to be agreed to.
      await press(dialog, verb);
      await close(dialog);
      expect((await models(key)).status).toBe(status);
    }

    const removing = await open('Remove short-lived');
    const agreed = removing.getByRole('checkbox');
    await agreed.waitFor();
    expect(await removing.getByRole('button', { name: 'Remove' }).isDisabled()).toBe(true);
    await agreed.check();
    await press(removing, 'Remove');
    await close(removing);
    await card('short-lived').waitFor({ state: 'detached' });
    expect((await models(key)).status).toBe(401);
  });

  test('a leaked key is revoked at once, and whoever uses it is named before', async () => {
    const dialog = await open('Revoke ci-1');
    await dialog.getByText('ci-worker/1.2').waitFor();
    await dialog.getByRole('checkbox', { name: /It has leaked/ }).check();
    const agreed = dialog.getByRole('checkbox', { name: /though ci-1 is in use/ });
    if ((await agreed.count()) > 0) await agreed.check();
    await press(dialog, 'Revoke and cut');
    await dialog.getByText('ci-1 is revoked').waitFor();
    await close(dialog);
    await shows('ci', ['ci-1 revoked']);
  });

  const upstream = () => stage.api<UpstreamView>('/api/upstream');
  /** Resolves once the last handover has ended so, on the page and by the API. */
  const ends = (number: number, state: string) =>
    vi.waitFor(async () => {
      const { last, handover } = await upstream();
      expect([handover, last?.id, last?.state]).toEqual([null, `handover-${number}`, state]);
      const [, row = []] = await cellsOf(tab, 'The last handovers');
      expect([row[0], row[5]]).toEqual([`handover-${number}`, state.replace('_', ' ')]);
    }, LATER);
  /** The page and the API say that new requests go to this slot. */
  const serves = (slot: string) =>
    vi.waitFor(async () => {
      const { slots } = await upstream();
      const said = slots.map(({ name, state }) => [name, state]);
      expect(said).toContainEqual([slot, 'active']);
      const [, ...rows] = await cellsOf(tab, 'Slots');
      expect(rows.map((row) => row.slice(0, 2))).toEqual(said);
    }, SOON);
  const withModel = (name: string) => {
    const config = stage.config as { readonly model_list: readonly object[] };
    return stage.configure({
      ...config,
      model_list: [...config.model_list, { ...config.model_list[0], model_name: name }],
    });
  };

  test('a new configuration is tried, and taken, step by step', async () => {
    await goTo(tab, 'litellm');
    await serves('a');
    await withModel('a-new-model');
    const dry = await open('Dry run');
    await press(dry, 'Try it');
    await dry.getByText('handover-1 has begun').waitFor();
    await close(dry);
    await tab.page.getByText('Under way: handover-1').waitFor();
    await ends(1, 'done');
    await tab.page.getByText('a-new-model').waitFor();
    await serves('a');

    const reload = await open('Reload');
    await press(reload, 'Reload');
    await close(reload);
    const steps = tab.page.locator('.steps').first();
    for (const step of ['starting', 'switched']) {
      await steps.locator('li', { hasText: step }).waitFor();
    }
    await ends(2, 'done');
    await serves('b');
  });

  test("LiteLLM's own key is rotated, and no client notices", async () => {
    const before = (await upstream()).keyMadeAt;
    const dialog = await open("Rotate LiteLLM's key");
    await press(dialog, 'Rotate');
    await close(dialog);
    await ends(3, 'done');
    expect((await upstream()).keyMadeAt).not.toBe(before);
    const failed = stage
      .sidecar()
      .accessLines()
      .filter(({ status }) => Number(status) >= 500);
    expect(failed).toEqual([]);
  });

  test("a configuration that is broken is rolled back, with LiteLLM's own last words", async () => {
    await stage.configure({ ...stage.config, model_list: 'nonsense <script>' });
    const dialog = await open('Reload');
    await press(dialog, 'Reload');
    await close(dialog);
    await ends(4, 'rolled_back');
    await tab.page.getByText("LiteLLM's last words").first().waitFor();
    const words = (await upstream()).last?.fault?.lastWords ?? [];
    expect(words.length).toBeGreaterThan(0);
    const flat = (text: string): string => text.replace(/\s+/g, ' ').trim();
    const shown = flat(await tab.page.locator('pre').first().innerText());
    for (const line of words) expect(shown).toContain(flat(line));
  });

  test('Audit has all of it, by whom, and says that the chain holds', async () => {
    await goTo(tab, 'audit');
    await tab.page.getByText(/The chain holds: \d+ lines/).waitFor();
    const { lines } = await stage.api<{ readonly lines: readonly AuditLine[] }>(
      '/api/audit?limit=1000',
    );
    await vi.waitFor(async () => {
      const [, ...rows] = await cellsOf(tab, 'The audit, the latest first');
      expect(rows.map(([line]) => Number(line))).toEqual(lines.map(({ seq }) => seq).toReversed());
      expect(rows.map((row) => row[3])).toEqual(lines.map(({ action }) => action).toReversed());
    }, SOON);
    await tab.page.getByLabel('By whom').selectOption('api:127.0.0.1');
    await tab.page.getByLabel('Look for').fill('web-2');
    const wanted = lines.filter(
      ({ by, from, to }) => by === 'api:127.0.0.1' && [from, to].includes('web-2'),
    );
    expect(wanted.length).toBeGreaterThan(0);
    await vi.waitFor(async () => {
      const [, ...rows] = await cellsOf(tab, 'The audit, the latest first');
      expect(rows.map(([line]) => Number(line))).toEqual(wanted.map(({ seq }) => seq).toReversed());
    }, SOON);
  });

  test('nothing went wrong in the page', () => {
    expect(tab.faults()).toEqual([]);
  });
});
