import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type LoadedConfig, loadConfig } from '../../config/load.ts';
import { DEFAULT } from '../../config/sources.ts';
import { type ConfigInForce, type ConfigView, configView } from '../../config/view.ts';
import { createAdminClient } from '../admin-client.ts';
import type { CommandContext, CommandDefinition } from '../command.ts';
import type { JsonFlag } from '../options.ts';
import { findDoor, readSettings } from '../settings.ts';
import { alignColumns } from '../table.ts';
import { CommandError, EXIT, paint, say, type Terminal } from '../terminal.ts';

const HELP = `
Asks the running sidecar what it runs with, and what a restart would take instead, because the
environment, .env or a key file were changed since. Where none runs, it is what a start would take.

Exit codes: 0, or 64 where a start would not come up for a mistake in the settings
`;

/** `sidecar config` */
export const configCommand: CommandDefinition = (program, context) => {
  program
    .command('config')
    .description('show the settings in force and where each came from; secrets stay hidden')
    .option('--json', 'one json document instead of the table')
    .addHelpText('after', HELP)
    .action(async (flags: JsonFlag) => {
      const { terminal } = context;
      const view = (await askRunning(context)) ?? viewOfStart(terminal);
      terminal.stdout.write(await renderView(terminal, view, flags));
      if (view.mistakes === null) return;
      const message = 'a restart would not come up: the settings have mistakes by now';
      throw new CommandError(message, EXIT.configuration, [], [view.mistakes]);
    });
};

/** What the running sidecar says; undefined where none does. */
async function askRunning({ terminal, time }: CommandContext): Promise<ConfigView | undefined> {
  if (!mayAsk(loadConfig(terminal))) return undefined;
  try {
    const onStarting = (): void => say(terminal, 'the sidecar is starting; waiting for it');
    const api = createAdminClient({ door: findDoor(terminal), actor: 'config', time, onStarting });
    return await api('GET /api/config');
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    say(terminal, `what is in force is not known: ${error.message}`, [
      'this is what a start would take now',
    ]);
    return undefined;
  }
}

/** Whether there is a way to a sidecar that may run: its socket, or without a state its token. */
const mayAsk = (loaded: LoadedConfig): boolean =>
  loaded.state === undefined
    ? loaded.ok && loaded.config.adminToken !== undefined
    : existsSync(join(loaded.state, 'admin.sock'));

function viewOfStart(terminal: Terminal): ConfigView {
  const settings = readSettings(terminal);
  for (const warning of settings.warnings) say(terminal, warning);
  return configView(settings, settings);
}

interface Row {
  readonly name: string;
  readonly value: string;
  readonly origin: string;
  /** What a restart would make of them; '' where nothing. */
  readonly next: readonly [value: string, origin: string] | undefined;
}

const HIDDEN = '(set, hidden)';
const NOT_SET = '(not set)';

/** Each setting, its value, and where it came from; of a secret, whether it is set. */
export const renderConfig = (
  terminal: Terminal,
  settings: ConfigInForce,
  flags: JsonFlag,
): Promise<string> =>
  renderView(
    terminal,
    configView(settings, { ...settings, ok: true, warnings: [], state: '' }),
    flags,
  );

/** The same of a view that a sidecar gave. */
export async function renderView(
  terminal: Terminal,
  view: ConfigView,
  { json = false }: JsonFlag,
): Promise<string> {
  return json ? asJson(view) : await asTable(terminal, view);
}

/** By name; `value` is null where nothing is set, and where what is set is a secret. */
function asJson({ settings }: ConfigView): string {
  const entries = settings.map(({ name, secret, value, set, origin, restart }) => {
    const wait = restart === null ? {} : { restart };
    return [name, secret ? { value, origin, secret, set, ...wait } : { value, origin, ...wait }];
  });
  return `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`;
}

function rowsOf({ settings }: ConfigView): Row[] {
  const shown = (
    secret: boolean,
    each: { readonly value: string | null; readonly set: boolean },
  ) => (each.set && secret ? HIDDEN : (each.value ?? NOT_SET));
  return settings.map(({ name, secret, origin, restart, ...each }) => {
    const next = restart && ([`restart: ${shown(secret, restart)}`, restart.origin] as const);
    return { name, value: shown(secret, each), origin, next: next ?? undefined };
  });
}

async function asTable(terminal: Terminal, view: ConfigView): Promise<string> {
  const { stdout } = terminal;
  const rows = rowsOf(view);
  const [values, origins] = widthsOf(rows, stdout.columns);
  const cells = rows.map(({ name, value, origin, next }) => {
    // Broken into lines here: the table would break the escapes of a colour, too.
    const style = origin === DEFAULT ? 'dim' : undefined;
    const pair = linesOfPair(brokenAt(values, value), brokenAt(origins, origin));
    const after = next && linesOfPair(brokenAt(values, next[0]), brokenAt(origins, next[1]));
    const cell = (at: 0 | 1): string =>
      [
        ...pair[at].map((line) =>
          style === undefined ? line : paint(terminal, stdout, style, line),
        ),
        ...(after?.[at] ?? []).map((line) => paint(terminal, stdout, 'yellow', line)),
      ].join('\n');
    return [name, cell(0), cell(1)];
  });
  const head = ['setting', 'value', 'from'].map((title) => paint(terminal, stdout, 'bold', title));
  const waiting = rows.filter(({ next }) => next !== undefined).map(({ name }) => name);
  const table = await alignColumns(head, cells);
  return waiting.length === 0 ? table : `${table}\nrestart to take: ${waiting.join(', ')}\n`;
}

/** Two cells of the same height. */
function linesOfPair(one: string[], other: string[]): readonly [string[], string[]] {
  const height = Math.max(one.length, other.length);
  const filled = (lines: string[]): string[] => [
    ...lines,
    ...Array.from({ length: height - lines.length }, () => ''),
  ];
  return [filled(one), filled(other)];
}

/** How wide values and origins are: 16 columns at least. Names are never broken. */
function widthsOf(rows: readonly Row[], width = Infinity): readonly [number, number] {
  const longest = (texts: readonly string[]): number =>
    Math.max(...texts.map((text) => text.length));
  const left = Math.max(width - longest(rows.map(({ name }) => name)) - 4, 32);
  const origins = longest(rows.flatMap(({ origin, next }) => [origin, next?.[1] ?? '']));
  const values = longest([NOT_SET, ...rows.flatMap(({ value, next }) => [value, next?.[0] ?? ''])]);
  if (values + origins <= left) return [values, origins];
  const narrow = Math.min(origins, Math.max(16, left - values));
  return [left - narrow, narrow];
}

/** Lines of so many characters, broken after a comma where there is one. */
function brokenAt(columns: number, text: string): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > columns) {
    const end = rest.slice(0, columns).lastIndexOf(',') + 1 || columns;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end);
  }
  return [...lines, rest];
}
