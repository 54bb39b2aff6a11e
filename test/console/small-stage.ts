import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { expect, vi } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import type { ClientView, RotateView } from '../../src/rotation/admin.ts';
import { type Peer, startFakeUpstream } from '../support/fake-upstream.ts';
import { recordKey } from '../support/key-ledger.ts';
import { startSidecarProcess } from '../support/sidecar-process.ts';
import { logIn, openTab, type Tab, type ViewName } from './browser.ts';

/** A sidecar as a process, in front of a LiteLLM that answers at once, or never ends. */
export interface SmallStage {
  /** A tab that is logged in, with this view; it goes with the stage. */
  open(view: ViewName): Promise<Tab>;
  /** What the admin API answers; a body is sent by POST, or as `method` says. */
  api<T>(path: string, body?: object, method?: string): Promise<T>;
  clientNow(name: string): Promise<ClientView>;
  /** A new client; its key. */
  addClient(name: string): Promise<string>;
  /** The status that a key gets for a chat. */
  ask(key: string, agent?: string): Promise<number>;
  /** An answer with this key that goes on until somebody ends it. */
  openStream(key: string): Promise<{ readonly ended: Promise<'whole' | 'cut'> }>;
  clear(): Promise<void>;
}

const STREAMED = 'x-test-stream';

function answerAsLitellm(peer: Peer): void {
  if (!peer.rawHead.includes(STREAMED)) {
    peer.answer('200 OK', '{"choices":[]}', 'content-type: application/json');
    return;
  }
  peer.head('200 OK', 'content-type: text/event-stream', 'transfer-encoding: chunked');
  peer.chunk('data: {}\n\n');
}

export async function smallStage(
  browser: Browser,
  settings: Readonly<Record<string, string>> = {},
  files: Readonly<Record<string, string>> = {},
): Promise<SmallStage> {
  const home = await mkdtemp(join(tmpdir(), 'sidecar-page-'));
  for (const [name, text] of Object.entries(files)) await writeFile(join(home, name), text);
  const upstream = await startFakeUpstream(answerAsLitellm);
  const token = generateKey();
  recordKey(token);
  const sidecar = await startSidecarProcess(home, {
    SIDECAR_UPSTREAM: upstream.url,
    SIDECAR_UPSTREAM_KEY: generateKey(),
    LITELLM_MASTER_KEY: generateKey(),
    SIDECAR_ADMIN_TOKEN: token,
    ...settings,
  });
  const origin = sidecar.opsUrl;
  await vi.waitFor(async () => expect((await fetch(`${origin}/readyz`)).status).toBe(200), {
    timeout: 20_000,
  });
  const tabs: Tab[] = [];
  const headersOf = (key: string) => ({
    authorization: `Bearer ${key}`,
    'content-type': 'application/json',
  });
  const chat = (key: string, more: Readonly<Record<string, string>>): Promise<Response> =>
    fetch(`${sidecar.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { ...headersOf(key), ...more },
      body: '{"model":"m","messages":[]}',
    });
  const stage: SmallStage = {
    async open(view) {
      const tab = await openTab(browser, origin);
      tabs.push(tab);
      await logIn(tab, origin, token, view);
      return tab;
    },
    async api<T>(path: string, body?: object, method = 'POST') {
      const sent = body === undefined ? {} : { method, body: JSON.stringify(body) };
      const answer = await fetch(`${origin}/api${path}`, { ...sent, headers: headersOf(token) });
      expect(answer.ok).toBe(true);
      return (await answer.json()) as T;
    },
    clientNow: (name) => stage.api<ClientView>(`/clients/${name}`),
    async addClient(name) {
      const { key } = await stage.api<RotateView>('/clients', { name });
      recordKey(key ?? '');
      return key ?? '';
    },
    async ask(key, agent = 'test/1') {
      const answer = await chat(key, { 'user-agent': agent });
      await answer.arrayBuffer();
      return answer.status;
    },
    async openStream(key) {
      const { body } = await chat(key, { [STREAMED]: '1' });
      const reader = (body as ReadableStream<Uint8Array>).getReader();
      await reader.read();
      const ended = reader.read().then(
        () => 'whole' as const,
        () => 'cut' as const,
      );
      return { ended };
    },
    async clear() {
      for (const tab of tabs) await tab.close();
      await sidecar.stop();
      await upstream.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
  return stage;
}
