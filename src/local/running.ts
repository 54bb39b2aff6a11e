import { relative } from 'node:path';
import { createGateway } from '../cli/check-gateway.ts';
import type { KeyPlace } from '../cli/key-place.ts';
import { readVersion } from '../cli/version.ts';
import type { Layout } from './layout.ts';
import { type KeyWords, type Running, shellQuote } from './screen.ts';

const ONE_LOOK_MS = 5000;

/** How a person gets at the key, and how a shell does. */
export function keyWords(place: KeyPlace, cwd: string): KeyWords {
  switch (place.kind) {
    case 'made': {
      const file = relative(cwd, place.file);
      return { place: `cat ${shellQuote(file)}`, shell: `$(cat ${shellQuote(file)})` };
    }
    case 'declared':
      return { place: `yours (${place.where})`, shell: '$LITELLM_MASTER_KEY' };
    case 'absent':
      return { place: 'npx sidecar key show', shell: '$(npx sidecar key show)' };
  }
}

/** The model for the line to paste: one that needs no provider's key, where there is one. */
export function chooseModel(names: readonly string[]): string | undefined {
  return names.find((name) => name === 'mock') ?? names.find((name) => !name.includes('*'));
}

/** Asks the gateway, as its client, what it lists; none where it does not say. */
export async function listedModels(
  traffic: string,
  place: KeyPlace,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (place.kind === 'absent') return [];
  const { key } = place;
  const options = { url: new URL(traffic), timeoutMs: ONE_LOOK_MS, version: readVersion() };
  const listed = await createGateway({ ...options, key, signal }).models();
  return 'message' in listed ? [] : listed;
}

/** What the screen shows. */
export function describe(
  place: KeyPlace,
  urls: { readonly traffic: string; readonly ops: string },
  models: readonly string[],
  layout: Layout,
  cwd: string,
): Running {
  const logs = [layout.sidecarLog, layout.litellmLog].map((file) => relative(cwd, file));
  return { ...urls, key: keyWords(place, cwd), model: chooseModel(models), logs };
}
