import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { recordArtefact } from '../support/key-ledger.ts';

/** Where Debian, and others, put the program. */
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** The program that `CHROMIUM_BIN` names, or the first in the usual places. */
function findChromium(): string {
  const named = process.env['CHROMIUM_BIN'] ?? '';
  const bin = named === '' ? PLACES.find((place) => existsSync(place)) : named;
  if (bin !== undefined && existsSync(bin)) return bin;
  throw new Error('there is no Chromium: apt-get install chromium, or name one in CHROMIUM_BIN');
}

/** Starts Chromium without a window. */
export const openBrowser = (): Promise<Browser> =>
  chromium.launch({
    executablePath: findChromium(),
    // As root, and in most containers, Chromium has no sandbox to start in.
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });

/** A tab of its own, with a storage of its own, and all that went wrong in it. */
export interface Tab {
  readonly page: Page;
  /**
   * Errors of scripts, what the policy of the page forbade, and requests to anybody but its own
   * server. Empty: all is well.
   */
  faults(): readonly string[];
  /** What is asked of the server and fails shows in Chromium's console: such lines are expected. */
  expectFailures(): void;
  close(): Promise<void>;
}

/** What Chromium says in its console of any answer above 399, and of a server that is away. */
const FAILED_REQUEST = /^Failed to load resource/;

/** @param origin of the console: `http://127.0.0.1:4001` */
export async function openTab(
  browser: Browser,
  origin: string,
  options: BrowserContextOptions = {},
): Promise<Tab> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const faults: string[] = [];
  let failuresExpected = false;
  page.on('pageerror', (error) => faults.push(`error: ${error.stack ?? error.message}`));
  page.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    if (failuresExpected && FAILED_REQUEST.test(message.text())) return;
    faults.push(`${message.type()}: ${message.text()}`);
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    // What the page made itself, such as a CSV to be saved, is asked of nobody.
    if (url.protocol === 'blob:' || url.protocol === 'data:') return;
    if (url.origin !== origin) faults.push(`asked another host: ${request.url()}`);
  });
  return {
    page,
    faults: () => faults,
    expectFailures() {
      failuresExpected = true;
    },
    async close() {
      // No key may stand in what is left of a page.
      recordArtefact('error body', 'the page', await page.content().catch(() => ''));
      await context.close();
    },
  };
}

const TITLES = {
  now: 'Now',
  usage: 'Usage',
  keys: 'Keys',
  litellm: 'LiteLLM',
  audit: 'Audit',
} as const;
export type ViewName = keyof typeof TITLES;
export const VIEW_NAMES = Object.keys(TITLES) as readonly ViewName[];

/** Enters the token, and waits for the view that was asked for. */
export async function logIn(tab: Tab, origin: string, token: string, view: ViewName = 'now') {
  await tab.page.goto(`${origin}/#/${view}`);
  await tab.page.getByLabel('Admin token').fill(token);
  await tab.page.getByRole('button', { name: 'Open' }).click();
  await seen(tab, view);
}

/** Goes to a view as a person does. */
export async function goTo(tab: Tab, view: ViewName) {
  const views = tab.page.getByRole('navigation');
  await views.getByRole('link', { name: TITLES[view], exact: true }).click();
  await seen(tab, view);
}

/** A view is there once its heading is and the sidecar has answered. */
async function seen({ page }: Tab, view: ViewName) {
  await page.getByRole('heading', { level: 1, name: TITLES[view] }).waitFor();
  await page.getByText('Asking the sidecar').waitFor({ state: 'detached' });
}

/** The texts of the cells of a table, row by row, its head first. */
export const cellsOf = (tab: Tab, label: string): Promise<string[][]> =>
  tab.page
    .getByLabel(label)
    .locator('tr')
    .evaluateAll((rows) =>
      rows.map((row) => Array.from((row as HTMLTableRowElement).cells, (cell) => cell.innerText)),
    );
