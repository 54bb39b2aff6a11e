import { relative } from 'node:path';
import { createGatewayProbe } from '../cli/gateway-probe.ts';
import type { KeyPlace } from '../cli/key-place.ts';
import { readVersion } from '../cli/settings.ts';
import type { Layout } from './child.ts';

/** Where a client's key is found, for whoever wants to paste a command. */
export interface KeyWords {
  /** For people: `state/keys/master`, `LITELLM_MASTER_KEY in .env`. */
  readonly place: string;
  /** A shell word that yields it. */
  readonly shell: string;
}

export interface Running {
  /** `http://127.0.0.1:4000`, without a slash at its end. */
  readonly traffic: string;
  readonly ops: string;
  readonly key: KeyWords;
  /** One that will answer; undefined: none is listed. */
  readonly model: string | undefined;
  readonly logs: readonly string[];
}

/** A word for a POSIX shell, whatever stands in it. */
export const shellQuote = (word: string): string =>
  /^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** The one screen that is shown when everything runs; `bold` is for the headings. */
export function renderScreen(running: Running, bold: (text: string) => string): string {
  const { traffic, ops, key, model, logs } = running;
  const messages = [{ role: 'user', content: 'hello' }];
  const body = JSON.stringify({ model: model ?? 'MODEL', messages });
  const facts: readonly (readonly [string, string])[] = [
    ['traffic', traffic],
    ['metrics', `${ops}/metrics`],
    ['key', key.place],
    ['logs', logs.join(', ')],
  ];
  const note =
    model === undefined ? ['litellm lists no model yet: add one to config.yaml', ''] : [];
  return [
    '',
    bold('litellm-sidecar is up'),
    '',
    ...facts.map(([name, value]) => `  ${name.padEnd(8)} ${value}`),
    '',
    ...note,
    bold('try it'),
    '',
    `  curl ${traffic}/v1/chat/completions \\`,
    `    -H "Authorization: Bearer ${key.shell}" \\`,
    "    -H 'content-type: application/json' \\",
    `    -d ${shellQuote(body)}`,
    '',
    'Ctrl-C ends it once what is in hand is finished, a second one at once',
    '',
  ].join('\n');
}

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
  const listed = await createGatewayProbe({ ...options, key, signal }).models();
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
