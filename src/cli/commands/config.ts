import { styleText } from 'node:util';
import type { Origins } from '../../config/parse.ts';
import {
  type AnySetting,
  type Config,
  ENV_FILE,
  fileNameOf,
  SETTINGS,
} from '../../config/settings.ts';
import { DEFAULT } from '../../config/sources.ts';
import type { JsonFlag } from '../options.ts';
import type { CommandDefinition } from '../scene.ts';
import { readSettings } from '../settings.ts';
import { hasColours, say } from '../terminal.ts';

/** `sidecar config` */
export const configCommand: CommandDefinition = (program, { terminal }) => {
  program
    .command('config')
    .description('show the settings in force and where each came from; secrets stay hidden')
    .option('--json', 'one json document instead of the table')
    .action(async ({ json = false }: JsonFlag) => {
      const settings = readSettings(terminal);
      for (const warning of settings.warnings) say(terminal, warning);
      const { stdout } = terminal;
      const view = { json, color: hasColours(terminal, stdout), width: stdout.columns };
      stdout.write(await renderConfig(settings, view));
    });
};

/** What is in force, as `loadConfig` gives it. */
interface InForce {
  readonly config: Config;
  readonly origins: Origins;
  /** The `.env` that was looked for. */
  readonly envFile: string;
}

interface ConfigView {
  readonly json: boolean;
  readonly color: boolean;
  /** Columns of the terminal; undefined: as wide as the longest values. */
  readonly width?: number | undefined;
}

interface Row {
  readonly name: string;
  /** As it would be written; '' where it is not set. */
  readonly value: string;
  readonly secret: boolean;
  readonly origin: string;
}

const HIDDEN = '(set, hidden)';
const NOT_SET = '(not set)';

/** The text of `sidecar config`: each setting, its value, where it came from. No secret's value. */
export async function renderConfig(inForce: InForce, view: ConfigView): Promise<string> {
  const rows = rowsOf(inForce);
  return view.json ? asJson(rows) : await asTable(rows, view);
}

function rowsOf({ config, origins, envFile }: InForce): Row[] {
  const rows = Object.entries<AnySetting>(SETTINGS).map(([key, setting]): Row => {
    const field = key as keyof Config;
    const secret = fileNameOf(setting) !== undefined;
    const value = config[field];
    const shown = secret && value !== undefined ? HIDDEN : setting.kind.show(value);
    return { name: setting.name, value: shown, secret, origin: origins[field] };
  });
  return [...rows, { name: ENV_FILE.name, value: envFile, secret: false, origin: '' }];
}

/**
 * For programs: an object by name; `value` is null where nothing is set and where it is a secret.
 */
function asJson(rows: readonly Row[]): string {
  const entries = rows.map(({ name, value, secret, origin }) => {
    const common = { value: secret || value === '' ? null : value, origin };
    return [name, secret ? { ...common, secret, set: value !== '' } : common];
  });
  return `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`;
}

const PLAIN_BORDER = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '', mid: '', 'left-mid': '' },
  ...{ 'mid-mid': '', 'right-mid': '', bottom: '', 'bottom-mid': '', 'bottom-left': '' },
  ...{ 'bottom-right': '', left: '', right: '', middle: '  ' },
};

async function asTable(rows: readonly Row[], { color, width }: ConfigView): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const paint = (style: 'bold' | 'dim', text: string): string =>
    color ? styleText(style, text, { validateStream: false }) : text;
  const [values, origins] = widthsOf(rows, width);
  const table = new Table({
    head: ['setting', 'value', 'from'].map((title) => paint('bold', title)),
    chars: PLAIN_BORDER,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
  });
  for (const { name, value, origin } of rows) {
    // Broken here: the table itself would break the escapes of a colour, too.
    const cell = (text: string, columns: number): string =>
      brokenAt(columns, text)
        .map((line) => (origin === DEFAULT ? paint('dim', line) : line))
        .join('\n');
    table.push([name, cell(value === '' ? NOT_SET : value, values), cell(origin, origins)]);
  }
  return `${table.toString().replaceAll(/ +$/gm, '')}\n`;
}

/** Columns for values and for origins; names are never broken, nor anything to less than 16. */
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
