import { relative } from 'node:path';
import type { MasterKeyPlace } from '../cli/key-place.ts';

/** What whoever ran `npm run local` wants to know once everything runs. */
export interface BannerFacts {
  /** `http://127.0.0.1:4000`, without a slash at its end. */
  readonly traffic: string;
  readonly ops: string;
  /** Where the key is, never the key. */
  readonly key: MasterKeyPlace;
  /** The models that LiteLLM lists. */
  readonly models: readonly string[];
  readonly logs: readonly string[];
}

/** The one screen that is shown when everything runs; paths are relative to `cwd`. */
export function renderBanner(
  { traffic, ops, key, models, logs }: BannerFacts,
  cwd: string,
  bold: (heading: string) => string,
): string {
  const { words, shell } = keyIn(key, cwd);
  const model = chooseModel(models);
  const messages = [{ role: 'user', content: 'hello' }];
  const body = JSON.stringify({ model: model ?? 'MODEL', messages });
  const facts: readonly (readonly [string, string])[] = [
    ['traffic', traffic],
    ['metrics', `${ops}/metrics`],
    ['console', `${ops}/`],
    ['key', words],
    ['logs', logs.map((file) => relative(cwd, file)).join(', ')],
  ];
  return [
    '',
    bold('litellm-sidecar is up'),
    '',
    ...facts.map(([name, value]) => `  ${name.padEnd(8)} ${value}`),
    '',
    ...(model === undefined ? ['litellm lists no model yet: add one to config.yaml', ''] : []),
    bold('try it'),
    '',
    `  curl ${traffic}/v1/chat/completions \\`,
    `    -H "Authorization: Bearer ${shell}" \\`,
    "    -H 'content-type: application/json' \\",
    `    -d ${shellQuote(body)}`,
    '',
    'Ctrl-C ends it once what is in hand is finished, a second one at once',
    '',
  ].join('\n');
}

/** Where the client's key is found: for people, and as a shell word that yields the key. */
export function keyIn(
  place: MasterKeyPlace,
  cwd: string,
): { readonly words: string; readonly shell: string } {
  switch (place.kind) {
    case 'made': {
      const read = `cat ${shellQuote(relative(cwd, place.file))}`;
      return { words: read, shell: `$(${read})` };
    }
    case 'declared':
      return { words: `yours (${place.where})`, shell: '$LITELLM_MASTER_KEY' };
    case 'absent':
      return { words: 'npx sidecar key show', shell: '$(npx sidecar key show)' };
  }
}

/** The model for the line to paste: `mock`, which needs no provider's key, where it is listed. */
export function chooseModel(names: readonly string[]): string | undefined {
  return names.find((name) => name === 'mock') ?? names.find((name) => !name.includes('*'));
}

/** A word for a POSIX shell, whatever stands in it. */
export const shellQuote = (word: string): string =>
  /^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
