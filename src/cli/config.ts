import { styleText } from 'node:util';
import Table from 'cli-table3';
import type { Origins } from '../config/parse.ts';
import { type AnySetting, fileNameOf } from '../config/setting.ts';
import { ENV_FILE, SETTINGS } from '../config/settings.ts';
import { DEFAULT } from '../config/sources.ts';
import type { Config } from '../config.ts';

/** What is in force, as `loadConfig` gives it. */
export interface InForce {
  readonly config: Config;
  readonly origins: Origins;
  /** The `.env` that was looked for. */
  readonly envFile: string;
}

export interface ConfigView {
  readonly json: boolean;
  readonly color: boolean;
  /** Columns of the terminal; undefined: as wide as the longest value. */
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

/** The text of `sidecar config`: each setting, its value, where it came from. No secret's value. */
export function renderConfig(inForce: InForce, view: ConfigView): string {
  const rows = rowsOf(inForce);
  return view.json ? asJson(rows) : asTable(rows, view);
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

/** For programs: an object by name; `value` is null where nothing is set and where it is a secret. */
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

function asTable(rows: readonly Row[], { color, width }: ConfigView): string {
  const paint = (style: 'bold' | 'dim', text: string): string =>
    color ? styleText(style, text, { validateStream: false }) : text;
  const widths = columnsOf(rows, width);
  const table = new Table({
    head: ['setting', 'value', 'from'].map((title) => paint('bold', title)),
    chars: PLAIN_BORDER,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
    ...(widths === undefined
      ? {}
      : { colWidths: widths, wordWrap: true, wrapOnWordBoundary: false }),
  });
  for (const { name, value, origin } of rows) {
    const usual = origin === DEFAULT;
    const shown = value === '' ? '(not set)' : value;
    table.push([name, usual ? paint('dim', shown) : shown, usual ? paint('dim', origin) : origin]);
  }
  return `${table.toString().replaceAll(/ +$/gm, '')}\n`;
}

/** The widths of the columns where a terminal is too narrow for all; names are never broken. */
function columnsOf(rows: readonly Row[], width: number | undefined): number[] | undefined {
  const longest = (pick: (row: Row) => string): number =>
    Math.max(...rows.map((row) => pick(row).length), '(not set)'.length);
  const [names, values, origins] = [
    longest((row) => row.name),
    longest((row) => row.value),
    longest((row) => row.origin),
  ];
  if (width === undefined || names + values + origins + 4 <= width) return undefined;
  const left = Math.max(width - names - 4, 40);
  const narrow = Math.min(origins, Math.floor(left / 2));
  return [names, Math.min(values, left - narrow), narrow];
}
