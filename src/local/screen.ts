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
