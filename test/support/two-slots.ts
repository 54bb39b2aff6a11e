import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { Secret } from '../../src/secret.ts';
import { type FakeUpstream, type Peer, type Script, startFakeUpstream } from './fake-upstream.ts';
import { type Settings, type Sidecar, startSidecar } from './sidecar.ts';
import { eventually } from './stage.ts';

/** A sidecar with a slot for each of two LiteLLMs; `a` is active. */
export interface TwoSlots {
  readonly sidecar: Sidecar;
  readonly a: FakeUpstream;
  readonly b: FakeUpstream;
  /** What each runs with. */
  readonly keys: { readonly a: string; readonly b: string };
  /** New requests go there from now on. */
  switchTo(slot: 'a' | 'b'): void;
}

/** Makes them, and takes them down after each test of the file it is called in. */
export function createTwoSlots() {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  return async (
    options: { script?: { a: Script; b: Script }; settings?: Settings } = {},
  ): Promise<TwoSlots> => {
    const a = await startFakeUpstream(options.script?.a);
    ends.push(a.stop);
    const b = await startFakeUpstream(options.script?.b);
    ends.push(b.stop);
    const slots = await mkdtemp(join(tmpdir(), 'slots-'));
    ends.push(() => rm(slots, { recursive: true, force: true }));
    const settings = { SIDECAR_UPSTREAM_KEY: undefined, SIDECAR_SLOTS: slots };
    const sidecar = await startSidecar(
      `${a.url},${b.url}`,
      { ...settings, ...options.settings },
      { handover: 'by-hand' },
    );
    ends.push(sidecar.stop);
    await eventually(() => (sidecar.logText().includes('LiteLLM answers') ? true : undefined));
    const inSlot = await readFile(join(slots, 'a', 'master.key'), 'utf8');
    const keys = { a: inSlot.trim(), b: generateKey() };
    const switchTo = (slot: 'a' | 'b'): void =>
      sidecar.upstreams.switchTo(slot, new Secret(keys[slot]));
    return { sidecar, a, b, keys, switchTo };
  };
}

/** What a request shows of the LiteLLM that it was meant for. */
export const addressOf = (peer: Peer) => ({
  host: peer.values('host'),
  key: peer.values('authorization'),
});
