import { type AnySetting, fileNameOf } from '../src/config/setting.ts';
import { ENV_FILE, EVERY_SETTING } from '../src/config/settings.ts';

/** Between these lines of docs/settings.md stands {@link settingsTable}. */
export const TABLE_MARKERS = ['<!-- settings -->', '<!-- /settings -->'] as const;

/** The headings of the table, in its order. */
const SECTIONS = [...new Set(EVERY_SETTING.map(({ section }) => section))];

const inSection = (section: string): readonly AnySetting[] =>
  EVERY_SETTING.filter((setting) => setting.section === section);

/** Without SIDECAR_ENV_FILE, which says where `.env` is: nobody would look for it in there. */
const inDotenv = (section: string): readonly AnySetting[] =>
  inSection(section).filter((setting) => setting.name !== ENV_FILE.name);

/** The table of all settings, in Markdown; ends with a newline. */
export function settingsTable(): string {
  const rows = SECTIONS.flatMap((section) => [
    `| **${section}** | | |`,
    ...inSection(section).map(tableRow),
  ]);
  return `${['| Variable | Default | What it is |', '|---|---|---|', ...rows].join('\n')}\n`;
}

function tableRow(setting: AnySetting): string {
  const fileName = fileNameOf(setting);
  const name = `\`${setting.name}\`${fileName === undefined ? '' : ` or \`${fileName}\``}`;
  const byDefault = setting.default === '' ? '' : `\`${setting.default}\``;
  const text = setting.help.replaceAll('|', '\\|');
  return `| ${name} | ${setting.required === true ? 'required' : byDefault} | ${text} |`;
}

/**
 * The page with the table in its place.
 *
 * @throws Error where the markers are missing or stand in the wrong order
 */
export function withSettingsTable(page: string): string {
  const [open, close] = TABLE_MARKERS;
  const start = page.indexOf(open);
  const end = page.indexOf(close);
  if (start < 0 || end < start) throw new Error(`the page has no lines ${open} and ${close}`);
  return `${page.slice(0, start + open.length)}\n\n${settingsTable()}\n${page.slice(end)}`;
}

const HEAD = `\
# Settings of litellm-sidecar. Copy this file to .env, and take the # away from what you set.
# What is shown is the default. The environment wins over .env, but for LITELLM_MASTER_KEY;
# docker-compose.yml and \`npm run local\` set there what they need, SIDECAR_UPSTREAM among it.
# SIDECAR_ENV_FILE, in the environment, names another file than ./.env.
# Durations and sizes have units: 500ms 30s 5m 24h 7d, 512KiB 1MiB 10MB.
# A value with a # or a space in it stands in quotes. \`sidecar config\` shows what is in force.
`;

const MAKE_KEY = `\
# A good one is made by
#   docker compose run --rm sidecar key new
#   npx sidecar key new
`;

/** The text of .env.example: every setting, commented out. */
export function envExample(): string {
  const sections = SECTIONS.map(
    (section) => `# --- ${section} ---\n\n${inDotenv(section).map(exampleEntry).join('\n')}`,
  );
  return [HEAD, ...sections].join('\n');
}

function exampleEntry(setting: AnySetting): string {
  const fileName = fileNameOf(setting);
  const required = setting.required === true ? ' (required)' : '';
  const how = setting.name === 'LITELLM_MASTER_KEY' ? MAKE_KEY : '';
  const file = fileName === undefined ? '' : `# or, the name of a file with it: ${fileName}=\n`;
  return `# ${setting.help}${required}\n${how}${file}# ${setting.name}=${setting.default}\n`;
}
