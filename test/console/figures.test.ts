import { readFile } from 'node:fs/promises';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { UsageReport } from '../../src/usage/report.ts';
import { METERED } from '../support/metered-litellm.ts';
import { cellsOf, goTo, logIn, openBrowser, openTab, type Tab } from './browser.ts';
import { CLIENTS, type ConsoleStage, consoleStage } from './stage.ts';

const SOON = { timeout: 30_000, interval: 100 };

describe('the figures of the console, in front of a real LiteLLM with three clients', () => {
  let stage: ConsoleStage;
  let browser: Browser;
  let tab: Tab;

  beforeAll(async () => {
    stage = await consoleStage();
    browser = await openBrowser();
    stage.startTraffic();
    tab = await openTab(browser, stage.origin, { timezoneId: 'Africa/Johannesburg' });
    await logIn(tab, stage.origin, stage.token);
  });
  afterAll(async () => {
    await tab?.close();
    await browser?.close();
    await stage?.clear();
  });

  const usage = (...args: readonly string[]) => stage.cli('usage', ...args) as Promise<UsageReport>;

  /** Rows of the view Now by their name. */
  const rowsOf = async (label: string) => {
    const [head = [], ...rows] = await cellsOf(tab, label);
    return new Map(
      rows.map(([name = '', ...cells]) => [
        name,
        Object.fromEntries(cells.map((cell, at) => [head[at + 1] ?? '', cell])),
      ]),
    );
  };

  test('Now draws as it goes: each client and model is there, and the plots are', async () => {
    await vi.waitFor(async () => {
      const clients = await rowsOf('Clients, 15 minutes');
      expect([...clients.keys()]).toEqual(expect.arrayContaining([...CLIENTS, '(none)']));
      const models = await rowsOf('Models, 15 minutes');
      // An answer that failed names no model.
      const asked = [METERED.openai, METERED.claude, METERED.o3, METERED.unpriced, '(none)'];
      expect([...models.keys()]).toEqual(expect.arrayContaining(asked));
    }, SOON);
    await vi.waitFor(async () => {
      const plots = await tab.page.getByRole('img').all();
      const words = await Promise.all(plots.map((plot) => plot.getAttribute('aria-label')));
      expect(words.find((each) => each?.startsWith('Requests a second'))).toMatch(
        /requests: [\d.]+ last, [1-9][\d.]* at most/,
      );
      expect(words.find((each) => each?.startsWith('First chunk'))).toMatch(/p95: [\d.]+ m?s last/);
    }, SOON);
    // It is drawn: some of its pixels have the colour of the first line.
    const inked = await tab.page
      .locator('canvas')
      .first()
      .evaluate((canvas: HTMLCanvasElement) => {
        const { data } = canvas
          .getContext('2d')
          ?.getImageData(0, 0, canvas.width, canvas.height) ?? {
          data: [],
        };
        const hex = getComputedStyle(canvas).getPropertyValue('--series-1').trim().slice(1);
        const wanted = [0, 2, 4].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
        let count = 0;
        for (let at = 0; at < data.length; at += 4) {
          if (wanted.every((value, nth) => Math.abs((data[at + nth] ?? 0) - value) < 8)) count += 1;
        }
        return count;
      });
    expect(inked).toBeGreaterThan(20);
  });

  test('Now splits requests and tokens by client and by model', async () => {
    const { page } = tab;
    await page.getByLabel('By client').check();
    const legend = page.locator('figure', { hasText: 'Requests a second' }).locator('.legend');
    await vi.waitFor(async () => {
      const text = await legend.innerText();
      for (const client of CLIENTS) expect(text).toContain(client);
    }, SOON);
    await page.getByLabel('By model').check();
    await vi.waitFor(async () => expect(await legend.innerText()).toContain(METERED.openai), SOON);
    await page.getByLabel('All', { exact: true }).check();
  });

  test('what was refused stands there with its reason, and who was', async () => {
    await vi.waitFor(async () => {
      const [, first = []] = await cellsOf(tab, 'Requests that were refused last');
      expect(first).toEqual(expect.arrayContaining(['POST /v1/chat/completions', '127.0.0.1']));
      expect(first.join(' ')).toMatch(/401 \w+_key .*ci-worker/);
    }, SOON);
  });

  test('it says how LiteLLM is, and each time is local with UTC on hover', async () => {
    const line = await tab.page.locator('.litellm-line').innerText();
    expect(line).toMatch(/^ready\s+LiteLLM in slot a answers/);
    const time = tab.page.getByLabel('Requests that were refused last').locator('time').first();
    const iso = (await time.getAttribute('datetime')) ?? '';
    expect(await time.getAttribute('title')).toBe(`${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`);
    // The browser of these tests is two hours ahead.
    const local = new Date(Date.parse(iso) + 2 * 3_600_000).toISOString();
    expect(await time.innerText()).toContain(local.slice(11, 19));
  });

  test('figures are told only while somebody looks', async () => {
    const { page } = tab;
    const isLive = (request: { url(): string }): boolean => request.url().endsWith('/api/live');
    const see = (hidden: boolean) =>
      page.evaluate((value) => {
        Object.defineProperty(document, 'hidden', { value, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
      }, hidden);
    let count = 0;
    page.on('request', (request) => {
      if (isLive(request)) count += 1;
    });
    const ended = page.waitForEvent('requestfailed', isLive);
    await see(true);
    await ended;
    const begun = page.waitForRequest(isLive);
    await see(false);
    await begun;
    expect(count).toBe(1);
  });

  test('once all is over, Now counts what `sidecar usage` counts', async () => {
    await stage.stopTraffic();
    await vi.waitFor(async () => {
      const { rows } = await usage('--by', 'client');
      const shown = await rowsOf('Clients, 15 minutes');
      for (const { name, requests, refusals, errors } of rows) {
        const row = shown.get(name ?? '(none)');
        expect({ name, ...row }).toMatchObject({
          requests: requests.toLocaleString('en-US'),
          refused: refusals.toLocaleString('en-US'),
          errors: errors.toLocaleString('en-US'),
        });
      }
      expect(shown.size).toBe(rows.length);
    }, SOON);
  });

  test.each(['client', 'model', 'key'] as const)(
    'Usage by %s is what the command line counts, and its CSV is byte by byte that of it',
    async (by) => {
      await goTo(tab, 'usage');
      await tab.page.getByLabel('Split by').selectOption(by);
      const { rows, total } = await usage('--by', by);
      await vi.waitFor(async () => {
        const cells = await cellsOf(tab, `Usage by ${by}`);
        const names = rows.map(({ name, active }) =>
          name === null ? '(none)' : active === false ? `${name} (older)` : name,
        );
        expect(cells.slice(1, -1).map(([name]) => name)).toEqual(names);
        const requests = [...rows, total].map((row) => row.requests.toLocaleString('en-US'));
        expect(cells.slice(1).map((row) => row[1])).toEqual(requests);
      }, SOON);
      const saved = tab.page.waitForEvent('download');
      await tab.page.getByRole('button', { name: `Save as CSV by ${by}` }).click();
      const path = await (await saved).path();
      expect(await readFile(path, 'utf8')).toBe(await stage.cliText('usage', '--by', by, '--csv'));
    },
  );

  test.each(['hour', 'day', 'month'] as const)('Usage by %s adds up to the same', async (step) => {
    const { page } = tab;
    await page.getByLabel('Split by').selectOption('client');
    await page.getByLabel('Period').selectOption(step === 'hour' ? '24h' : '30d');
    await page.getByLabel('Step').selectOption(step);
    const { total } = await usage('--by', 'client');
    await vi.waitFor(async () => {
      const cells = await cellsOf(tab, `Usage by ${step}`);
      expect(cells.at(-1)?.slice(0, 2)).toEqual(['total', total.requests.toLocaleString('en-US')]);
      const sum = cells.slice(1, -1).reduce((all, row) => all + Number(row[1]), 0);
      expect(sum).toBe(total.requests);
    }, SOON);
    const plot = page.locator('figure', { hasText: 'Tokens' }).first();
    await plot.locator('summary').click();
    await vi.waitFor(async () => {
      const table = await cellsOf(tab, 'Table of Tokens');
      expect(table[0]?.slice(1)).toEqual(CLIENTS);
      expect(table[1]?.slice(1).every((tokens) => /^[\d.,]+k?$/.test(tokens))).toBe(true);
    }, SOON);
    await plot.locator('summary').click();
  });

  test('Usage of one client and of one model is that of the command line', async () => {
    const { page } = tab;
    await page.getByLabel('Split by').selectOption('client');
    await page.getByLabel('Client', { exact: true }).selectOption('web');
    await page.getByLabel('Model', { exact: true }).selectOption(METERED.claude);
    const { total } = await usage('--client', 'web', '--model', METERED.claude);
    expect(total.requests).toBeGreaterThan(0);
    await vi.waitFor(async () => {
      const cells = await cellsOf(tab, 'Usage by client');
      expect(cells.at(-1)?.[1]).toBe(String(total.requests));
    }, SOON);
  });

  test('nothing went wrong in the page, and nobody else was asked', () => {
    expect(tab.faults()).toEqual([]);
  });
});
