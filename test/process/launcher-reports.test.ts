import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createSlots, type SlotName } from '../../src/litellm/slots.ts';
import { createLauncherStage, type Launcher, SHELLS } from '../support/launcher.ts';

const stage = createLauncherStage();
let launcher: Launcher | undefined;
beforeEach(() => mkdir(stage.reports));

interface Part {
  readonly say?: string;
  readonly times?: number;
  readonly exit?: number;
}

/** Resolves to the id that the slot has from now on. */
const place = async (slot: SlotName, key: string, part: Part = {}): Promise<string> => {
  await stage.place(slot, key, JSON.stringify(part));
  return (await readFile(join(stage.folder, slot, 'id'), 'utf8')).trim();
};

/** The lines of a report; of none where there is no report. */
const reportOf = (slot: SlotName): string[] => {
  try {
    return readFileSync(join(stage.reports, `${slot}.log`), 'utf8').split('\n');
  } catch {
    return [];
  }
};

const soon = { timeout: 50_000, interval: 20 };

/** The last bytes of a report: a look at all of a long one, each few milliseconds, slows it down. */
const endOf = (slot: SlotName): string => {
  const file = openSync(join(stage.reports, `${slot}.log`), 'r');
  try {
    const { size } = fstatSync(file);
    const end = Buffer.alloc(Math.min(size, 32));
    readSync(file, end, 0, end.length, size - end.length);
    return String(end);
  } finally {
    closeSync(file);
  }
};

/** Resolves to a report's lines once it is complete. */
const ended = async (slot: SlotName, status: number, tries = 1): Promise<string[]> => {
  await vi.waitFor(() => expect(endOf(slot)).toMatch(new RegExp(`\nended ${status}\n$`)), soon);
  return await vi.waitFor(() => {
    const lines = reportOf(slot);
    expect(lines[1]).toBe(`try ${tries}`);
    expect(lines.slice(-2)).toEqual([`ended ${status}`, '']);
    return lines.slice(0, -1);
  }, soon);
};

const gone = (slot: SlotName): Promise<void> =>
  vi.waitFor(() => expect(reportOf(slot)).toEqual([]), soon);

/** What the launcher tells itself through LiteLLM's output. */
const ITS_OWN = /launcher-\d+-|^\[a\] \d+$/;

/** A folder for PATH with the sed of a small image: it holds lines back, and there is no `-u`. */
const smallSed = async (): Promise<string> => {
  const bin = join(stage.base, 'bin');
  await mkdir(bin);
  const sed = '#!/bin/sh\necho "sed: invalid option -- u" >&2\nexit 1\n';
  await writeFile(join(bin, 'sed'), sed, { mode: 0o755 });
  return `${bin}:${process.env['PATH']}`;
};

describe.each(SHELLS.map((shell) => [shell.join(' '), shell] as const))('%s', (_name, shell) => {
  const start = (options: Partial<Parameters<typeof stage.start>[0]> = {}): Launcher => {
    // What a report says is seen before the next start: ten times as long as elsewhere.
    const env = { LAUNCHER_LOOK: '0.2', ...options.env };
    launcher = stage.start({ shell, ...options, env });
    return launcher;
  };

  it('holds what was started, for which time, what it said and how it ended', async () => {
    const id = await place('a', 'sk-of-a', { say: '  a \\ line\nand $(another)\n\nlast', exit: 7 });
    const { line, lines } = start();
    const [first, second, ...words] = await ended('a', 7);
    expect([first, second]).toEqual([`slot-id ${id}`, 'try 1']);
    expect(words.filter((word) => !word.startsWith('{'))).toEqual([
      'a line on stderr',
      '  a \\ line',
      'and $(another)',
      '',
      'last',
      'ended 7',
    ]);
    // Written before the report's last line, but read here when it comes out of the pipe.
    await line(/^\[a\] last$/);
    await line(/again in 1 s/);
    expect(lines.filter((each) => ITS_OWN.test(each))).toEqual([]);
    expect((await stat(join(stage.reports, 'a.log'))).mode & 0o777).toBe(0o640);
  });

  it('has what every LiteLLM is given beside it', async () => {
    await place('a', 'sk-of-a', { exit: 3 });
    start({ env: { GRACEFUL_SHUTDOWN_TIMEOUT: '70' } });
    await ended('a', 3);
    const given = await readFile(join(stage.reports, 'launcher'), 'utf8');
    expect(given).toBe('GRACEFUL_SHUTDOWN_TIMEOUT=70\n');
  });

  it('counts the tries of what is in the slot, and begins anew with each', async () => {
    const id = await place('a', 'sk-of-a', { say: 'one', exit: 3 });
    start();
    for (const tries of [1, 2, 3]) {
      const lines = await ended('a', 3, tries);
      expect(lines[0]).toBe(`slot-id ${id}`);
      expect(lines.filter((line) => line === 'one')).toHaveLength(1);
    }
    const next = await place('a', 'sk-of-a', { say: 'two', exit: 4 });
    expect((await ended('a', 4))[0]).toBe(`slot-id ${next}`);
  });

  it('has no end while LiteLLM runs, whatever that says', async () => {
    await place('a', 'sk-of-a', { say: 'ended 0\n' });
    const { said } = start();
    const { pid } = await said('a', 'start');
    await vi.waitFor(() => expect(reportOf('a').slice(-2)).toEqual([' ended 0', '']), soon);
    process.kill(pid, 'SIGKILL');
    await ended('a', 137);
  });

  it('tells a LiteLLM that a signal ended', async () => {
    const slow = join(stage.base, 'slow');
    await writeFile(slow, '#!/bin/sh\necho here\nexec sleep 600\n', { mode: 0o755 });
    await place('a', 'sk-of-a');
    const { line, kill } = start({ env: { LITELLM_BIN: slow } });
    await line(/\[a\] here/);
    kill('SIGTERM');
    // It stays: nobody but the sidecar empties a slot.
    expect(await ended('a', 143)).toContain('here');
    expect(await launcher?.ended).toBe(0);
    expect(reportOf('a')).toContain('ended 143');
  });

  it.each([
    ['a sed that is prompt', false],
    ['one that is not', true],
  ])('holds 1,000 lines of 2,000 characters, with %s', async (_what, small) => {
    // The last of them lacks its end.
    const say = `\n${'x'.repeat(2500)}`;
    await place('a', 'sk-of-a', { say, times: 1100, exit: 5 });
    const { line, lines } = start(small ? { env: { PATH: await smallSed() } } : {});
    const report = await ended('a', 5);
    expect(report).toHaveLength(2 + 1000 + 1);
    // Before them are an empty one, and two of the fake's own.
    expect(report.slice(5, -1)).toEqual(Array.from({ length: 997 }, () => 'x'.repeat(2000)));
    await line(/again in 1 s/);
    const whole = `[a] ${'x'.repeat(2500)}`;
    await vi.waitFor(() => expect(lines.filter((each) => each === whole)).toHaveLength(1100), soon);
    expect(lines.filter((each) => ITS_OWN.test(each))).toEqual([]);
  });

  it.each([
    ['a few lines', 1],
    ['more than the report holds', 1500],
  ])('ends where a child lives on that holds the output open, after %s', async (_what, many) => {
    await place('a', 'sk-parent', { say: 'a line\n', times: many });
    const { said, line } = start();
    const { pid, child = 0 } = await said('a', 'start');
    await line(/of the heir/);
    process.kill(pid, 'SIGKILL');
    await ended('a', 137);
    // That child is still heard.
    await line(/ended with status 137/);
    await line(/of the heir/);
    process.kill(child, 'SIGKILL');
  });

  it('never shows the key, in parts neither', async () => {
    const key = 'sk-a*b?[c]-that-is-hidden';
    const at = (length: number): string => `${'x'.repeat(length)}$KEY`;
    const lines = ['$KEY', 'a $KEY$KEY b $KEY', at(1990), at(1999), at(2500), `$KEY${at(1970)}`];
    await place('a', key, { say: lines.join('\n'), exit: 1 });
    start();
    const report = await ended('a', 1);
    expect(report.join('\n')).toMatch(/"key":"\[key\]"/); // of the fake's own line
    expect(report.join('\n')).not.toContain('sk-');
    expect(report.slice(-7, -1)).toEqual([
      '[key]',
      'a [key][key] b [key]',
      'x'.repeat(1990),
      'x'.repeat(1999),
      'x'.repeat(2000),
      `[key]${'x'.repeat(1970)}`,
    ]);
  });

  it('says why there is no start where the key cannot be read', async () => {
    await mkdir(join(stage.folder, 'a'));
    start();
    for (const tries of [1, 2]) {
      const [id, , words] = await ended('a', 1, tries);
      expect(id).toBe('slot-id ');
      expect(words).toMatch(/^slot a: no key for uid=.*in the group of the slots folder\?$/);
    }
  });

  it('goes with the slot, but not before its LiteLLM has ended', async () => {
    await writeFile(join(stage.reports, 'b.log'), 'of an earlier life');
    await place('a', 'sk-of-a');
    const { said } = start();
    const { pid } = await said('a', 'start');
    await gone('b');
    await createSlots({ folder: stage.folder }).remove('a');
    await said('a', 'term');
    await vi.waitFor(() => expect(reportOf('a').join()).toContain('term'), soon);
    process.kill(pid, 'SIGUSR2');
    await gone('a');
    await place('a', 'sk-of-a', { exit: 6 });
    // Of whichever try: a busy machine may look when the first one is over.
    await vi.waitFor(() => expect(reportOf('a').at(-2)).toBe('ended 6'), soon);
  });

  it('is of one LiteLLM alone, while the one before still drains', async () => {
    await place('a', 'sk-of-a', { say: 'of the first' });
    const { said, line } = start();
    const old = await said('a', 'start');
    const id = await place('a', 'sk-of-a', { say: 'of the second\n' });
    const next = await said('a', 'start');
    await vi.waitFor(() => expect(reportOf('a')).toContain('of the second'), soon);
    process.kill(old.pid, 'SIGUSR2');
    await line(/ended with status 0/);
    process.kill(next.pid, 'SIGKILL');
    const report = await ended('a', 137);
    expect(report[0]).toBe(`slot-id ${id}`);
    expect(report.join()).not.toMatch(/of the first|ended 0|"term"/);
  });

  it('never shows the id of one with the words of another', async () => {
    const ids = new Map<string, number>();
    let seen = 0;
    const look = (): void => {
      const [first = '', , ...words] = reportOf('a');
      const of = words.find((word) => word.startsWith('of '));
      if (of === undefined) return;
      seen += 1;
      expect(of).toBe(`of ${ids.get(first.slice('slot-id '.length))}`);
    };
    start();
    for (let index = 0; index < 8; index += 1) {
      ids.set(await place('a', 'sk-of-a', { say: `of ${index}\n`, exit: 0 }), index);
      const last = (): void => {
        look();
        expect(reportOf('a')).toContain(`of ${index}`);
      };
      await vi.waitFor(last, { ...soon, interval: 1 });
    }
    expect(seen).toBeGreaterThan(8);
  });
});
