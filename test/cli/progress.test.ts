import { stripVTControlCharacters } from 'node:util';
import { expect, it } from 'vitest';
import { runSteps, type Step } from '../../src/cli/progress.ts';
import { capturedTerminal } from './captured-terminal.ts';

const looked = { isTTY: true, columns: 40 } as const;

/** Steps whose ends the test decides. */
function steps(...titles: readonly string[]) {
  const ends = new Map<string, (outcome: string | Error) => void>();
  const notes = new Map<string, (text: string) => void>();
  const made = titles.map(
    (title): Step => ({
      title,
      run: (note) => {
        notes.set(title, note);
        return new Promise((resolve, reject) => {
          ends.set(title, (end) => (end instanceof Error ? reject(end) : resolve(end)));
        });
      },
    }),
  );
  const end = async (title: string, outcome: string | Error): Promise<void> => {
    ends.get(title)?.(outcome);
    for (let turns = 0; turns < 10; turns++) await Promise.resolve();
  };
  return { made, end, note: (title: string, text: string) => notes.get(title)?.(text), ends };
}

const ESC = '\u001b';
const UP = new RegExp(`(${ESC}\\[\\d+A\r${ESC}\\[J)`);

/** What stands on the screen: each `ESC [n A … J` takes the last n lines away. */
function screenOf(text: string): readonly string[] {
  const lines: string[] = [];
  for (const part of text.split(UP)) {
    const up = UP.test(part) ? /\d+/.exec(part)?.[0] : undefined;
    if (up === undefined) lines.push(...stripVTControlCharacters(part).split('\n').slice(0, -1));
    else lines.splice(-Number(up));
  }
  return lines.map((line) => line.replace(/^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] /, '* '));
}

it('shows on a terminal how each step ended, and below what those that run last said', async () => {
  const { terminal, written } = capturedTerminal({}, '.', looked);
  const { made, end, note } = steps('one', 'two', 'three');
  const done = runSteps(terminal, made, { concurrency: 2, keepGoing: true });
  note('one', `says \u001b[2J ${'much '.repeat(20)}`);
  expect(screenOf(written.stderr)).toEqual([
    '* one',
    expect.stringMatching(/^ {2}says .*…$/),
    '* two',
  ]);
  await end('two', new Error('it broke'));
  expect(screenOf(written.stderr).filter((line) => !line.startsWith(' '))).toEqual([
    ...['✖ two: it broke', '* one', '* three'],
  ]);
  await end('one', 'ok');
  await end('three', 'fine');
  await done;
  expect(screenOf(written.stderr)).toEqual(['✖ two: it broke', '✔ one: ok', '✔ three: fine']);
  expect(written.stdout).toBe('');
});

it('says a line for each elsewhere, and ends with the first failure where it is told to', async () => {
  const { terminal, written } = capturedTerminal();
  const { made, end, ends } = steps('one', 'two', 'three');
  const done = runSteps(terminal, made, { concurrency: 1, keepGoing: false });
  await end('one', 'ok');
  const failure = new Error('it broke');
  const ended = expect(done).rejects.toBe(failure);
  await end('two', failure);
  await ended;
  expect([...ends.keys()]).toEqual(['one', 'two']);
  expect(written.stderr).toBe('sidecar: one: ok\nsidecar: two: it broke\n');
});
