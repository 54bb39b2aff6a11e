import {
  type AnySetting,
  type Config,
  ENV_FILE,
  fileNameOf,
  SETTINGS,
} from '../../config/settings.ts';
import { DEFAULT } from '../../config/sources.ts';
import type { CommandDefinition } from '../command.ts';
import type { JsonFlag } from '../options.ts';
import { readSettings, type SettingsInForce } from '../settings.ts';
import { alignColumns } from '../table.ts';
import { paint, say, type Terminal } from '../terminal.ts';

/** `sidecar config` */
export const configCommand: CommandDefinition = (program, { terminal }) => {
  program
    .command('config')
    .description('show the settings in force and where each came from; secrets stay hidden')
    .option('--json', 'one json document instead of the table')
    .action(async (flags: JsonFlag) => {
      const settings = readSettings(terminal);
      for (const warning of settings.warnings) say(terminal, warning);
      terminal.stdout.write(await renderConfig(terminal, settings, flags));
    });
};

interface Row {
  readonly name: string;
  /** As it would be written; '' where it is not set. */
  readonly value: string;
  readonly secret: boolean;
  readonly origin: string;
}

const HIDDEN = '(set, hidden)';
const NOT_SET = '(not set)';

/** Each setting, its value, and where it came from; of a secret, whether it is set. */
export async function renderConfig(
  terminal: Terminal,
  settings: Pick<SettingsInForce, 'config' | 'origins' | 'envFile'>,
  { json = false }: JsonFlag,
): Promise<string> {
  const rows = rowsOf(settings);
  return json ? asJson(rows) : await asTable(terminal, rows);
}

function rowsOf({
  config,
  origins,
  envFile,
}: Pick<SettingsInForce, 'config' | 'origins' | 'envFile'>): Row[] {
  const rows = Object.entries<AnySetting>(SETTINGS).map(([key, setting]): Row => {
    const field = key as keyof Config;
    const secret = fileNameOf(setting) !== undefined;
    const value = config[field];
    const shown = secret && value !== undefined ? HIDDEN : setting.kind.show(value);
    return { name: setting.name, value: shown, secret, origin: origins[field] };
  });
  return [...rows, { name: ENV_FILE.name, value: envFile, secret: false, origin: '' }];
}

/** By name; `value` is null where nothing is set, and where what is set is a secret. */
function asJson(rows: readonly Row[]): string {
  const entries = rows.map(({ name, value, secret, origin }) => {
    const common = { value: secret || value === '' ? null : value, origin };
    return [name, secret ? { ...common, secret, set: value !== '' } : common];
  });
  return `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`;
}

async function asTable(terminal: Terminal, rows: readonly Row[]): Promise<string> {
  const { stdout } = terminal;
  const [values, origins] = widthsOf(rows, stdout.columns);
  const cells = rows.map(({ name, value, origin }) => {
    // Broken into lines here: the table would break the escapes of a colour, too.
    const cell = (text: string, columns: number): string =>
      brokenAt(columns, text)
        .map((line) => (origin === DEFAULT ? paint(terminal, stdout, 'dim', line) : line))
        .join('\n');
    return [name, cell(value === '' ? NOT_SET : value, values), cell(origin, origins)];
  });
  const head = ['setting', 'value', 'from'].map((title) => paint(terminal, stdout, 'bold', title));
  return await alignColumns(head, cells);
}

/** How wide values and origins are: 16 columns at least. Names are never broken. */
function widthsOf(rows: readonly Row[], width = Infinity): readonly [number, number] {
  const longest = (texts: readonly string[]): number =>
    Math.max(...texts.map((text) => text.length));
  const left = Math.max(width - longest(rows.map(({ name }) => name)) - 4, 32);
  const origins = longest(rows.map(({ origin }) => origin));
  const values = longest([NOT_SET, ...rows.map(({ value }) => value)]);
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
