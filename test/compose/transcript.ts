import { readFileSync } from 'node:fs';

/** One command of a ```console block of a document, and what it is said to print. */
export interface Step {
  readonly command: string;
  readonly output: string;
}

/** What a newcomer reads, in that order. */
const PAGES = ['README.md', 'docs/keys.md', 'docs/litellm.md'];

/** All ```console blocks of these pages, in their order: one shell runs them, in one folder. */
export function readTranscript(): Step[] {
  const text = PAGES.map((page) =>
    readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8'),
  ).join('');
  return [...text.matchAll(/^```console\n([\s\S]*?)^```/gm)].flatMap(([, block = '']) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((step) => {
        const [command = '', ...output] = step.trimEnd().split('\n');
        return { command, output: output.join('\n') };
      }),
  );
}

/**
 * The steps as one script that prints an empty line and `== n` before each. `docker compose up` is
 * left out: it was done, under another name and on other ports.
 */
export function scriptOf(
  steps: readonly Step[],
  where: { compose: string; traffic: string; ops: string },
): string {
  const script = steps.map(({ command }, at) => {
    const here = command
      .replaceAll('docker compose exec', `${where.compose} exec -T`)
      .replaceAll('localhost:4000', where.traffic)
      .replaceAll('localhost:4001', where.ops);
    return `printf '\\n== ${at}\\n'\n${command.startsWith('docker compose up') ? 'true' : here}\n`;
  });
  // A terminal shows both, in their order.
  return ['exec 2>&1\n', ...script, 'wait\n'].join('');
}

/** What each step printed. */
export const printedBy = (stdout: string): string[] => stdout.split(/\n== \d+\n/).slice(1);

/** What is another one each time, and how wide it makes the columns of a table. */
const VARYING: readonly (readonly [RegExp, string])[] = [
  [/\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z)/g, '<instant>'],
  [/\b(in|up for) \d+ (s|min|h|d)\b/g, '$1 <span>'],
  [/\b\d+ (s|min|h|d) ago\b/g, '<span> ago'],
  [/\b\d{1,3}(\.\d{1,3}){3}\b/g, '<address>'],
  [/\bcurl\/[\d.]+\w*/g, 'curl/<version>'],
  [/ +$/gm, ''],
  [/(?<=\S) {2,}/g, '  '],
];

/** A text with a word in the place of each date, age, address and version. */
export const normalise = (text: string): string =>
  VARYING.reduce((so, [varying, word]) => so.replace(varying, word), text.trimEnd());
